// SPDX-License-Identifier: GPL-2.0
/*
 * "ip link set PF vf N ...": what the hypervisor decides for a VF in legacy
 * mode. In switchdev mode only the MAC is left to it; the rest is the
 * business of tc and devlink.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>

#include "control.h"

#define NICSIM_LINK_MBIT	25000
#define NICSIM_QOS_MAX		7

/* The VF's port, or why it cannot be configured now. */
static struct nicsim_vport *nicsim_vf_port(struct net_device *dev, int vf)
{
	struct nicsim *nic = nicsim_vport_of(dev)->nic;
	int err = nicsim_fw_check(nic, NULL);

	if (err)
		return ERR_PTR(err);
	if (vf < 0 || vf >= READ_ONCE(nic->num_vfs))
		return ERR_PTR(-EINVAL);
	return &nic->vf[vf];
}

static struct nicsim_vport *nicsim_legacy_vf_port(struct net_device *dev,
						  int vf)
{
	if (nicsim_is_switchdev(nicsim_vport_of(dev)->nic))
		return ERR_PTR(-EOPNOTSUPP);
	return nicsim_vf_port(dev, vf);
}

int nicsim_set_vf_mac(struct net_device *dev, int vf, u8 *mac)
{
	struct nicsim_vport *vport = nicsim_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	if (is_multicast_ether_addr(mac))
		return -EINVAL;
	ether_addr_copy(vport->cfg.mac, mac);
	nicsim_vf_take_mac(vport);
	return 0;
}

static bool nicsim_vlan_ok(u16 vlan, u8 qos, __be16 proto)
{
	return vlan < VLAN_VID_MASK && qos <= NICSIM_QOS_MAX &&
	       eth_type_vlan(proto);
}

int nicsim_set_vf_vlan(struct net_device *dev, int vf, u16 vlan, u8 qos,
		       __be16 proto)
{
	struct nicsim_vport *vport = nicsim_legacy_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	if (!nicsim_vlan_ok(vlan, qos, proto))
		return -EINVAL;
	vport->cfg.qos = qos;
	vport->cfg.vlan_proto = proto;
	WRITE_ONCE(vport->cfg.vlan, vlan);
	return 0;
}

int nicsim_set_vf_rate(struct net_device *dev, int vf, int min, int max)
{
	struct nicsim_vport *vport = nicsim_legacy_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	if (min < 0 || max < 0 || max > NICSIM_LINK_MBIT ||
	    (max && min > max))
		return -EINVAL;
	vport->cfg.min_tx_rate = min;
	vport->cfg.max_tx_rate = max;
	return 0;
}

int nicsim_set_vf_spoofchk(struct net_device *dev, int vf, bool on)
{
	struct nicsim_vport *vport = nicsim_legacy_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	WRITE_ONCE(vport->cfg.spoofchk, on);
	return 0;
}

int nicsim_set_vf_trust(struct net_device *dev, int vf, bool on)
{
	struct nicsim_vport *vport = nicsim_legacy_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	vport->cfg.trusted = on;
	return 0;
}

int nicsim_set_vf_link_state(struct net_device *dev, int vf, int state)
{
	struct nicsim_vport *vport = nicsim_legacy_vf_port(dev, vf);

	if (IS_ERR(vport))
		return PTR_ERR(vport);
	if (state < IFLA_VF_LINK_STATE_AUTO ||
	    state > IFLA_VF_LINK_STATE_DISABLE)
		return -EINVAL;
	vport->cfg.link_state = state;
	nicsim_carrier_update(vport);
	return 0;
}

int nicsim_get_vf_config(struct net_device *dev, int vf,
			 struct ifla_vf_info *info)
{
	struct nicsim *nic = nicsim_vport_of(dev)->nic;
	const struct nicsim_vf_config *cfg;

	if (vf < 0 || vf >= READ_ONCE(nic->num_vfs))
		return -EINVAL;
	cfg = &nic->vf[vf].cfg;
	memset(info, 0, sizeof(*info));
	info->vf = vf;
	ether_addr_copy(info->mac, cfg->mac);
	info->vlan = cfg->vlan;
	info->qos = cfg->qos;
	info->vlan_proto = cfg->vlan_proto;
	info->spoofchk = cfg->spoofchk;
	info->trusted = cfg->trusted;
	info->linkstate = cfg->link_state;
	info->min_tx_rate = cfg->min_tx_rate;
	info->max_tx_rate = cfg->max_tx_rate;
	return 0;
}
