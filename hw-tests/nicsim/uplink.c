// SPDX-License-Identifier: GPL-2.0
/*
 * The PF's netdev. In legacy mode it is a station of the bridge in the NIC; in
 * switchdev mode it is the uplink's representor.
 */
#include <linux/etherdevice.h>

#include "control.h"

static void nicsim_uplink_enter(struct nicsim_vport *uplink,
				struct sk_buff *skb)
{
	if (nicsim_is_switchdev(uplink->nic))
		nicsim_vport_tx(uplink, skb);
	else
		nicsim_legacy_rx(uplink->nic, LEGACY_PF, skb);
}

static netdev_tx_t nicsim_uplink_xmit(struct sk_buff *skb,
				      struct net_device *dev)
{
	return nicsim_netdev_xmit(skb, dev, nicsim_uplink_enter);
}

static int nicsim_uplink_setup_tc(struct net_device *dev,
				  enum tc_setup_type type, void *data)
{
	return nicsim_flow_setup_tc(nicsim_vport_of(dev), type, data);
}

static const struct net_device_ops nicsim_uplink_ops = {
	.ndo_open = nicsim_netdev_open,
	.ndo_stop = nicsim_netdev_stop,
	.ndo_start_xmit = nicsim_uplink_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_features = nicsim_set_features,
	.ndo_setup_tc = nicsim_uplink_setup_tc,
	.ndo_set_vf_mac = nicsim_set_vf_mac,
	.ndo_set_vf_vlan = nicsim_set_vf_vlan,
	.ndo_set_vf_rate = nicsim_set_vf_rate,
	.ndo_set_vf_spoofchk = nicsim_set_vf_spoofchk,
	.ndo_set_vf_trust = nicsim_set_vf_trust,
	.ndo_set_vf_link_state = nicsim_set_vf_link_state,
	.ndo_get_vf_config = nicsim_get_vf_config,
};

bool nicsim_is_uplink_netdev(const struct net_device *dev)
{
	return dev->netdev_ops == &nicsim_uplink_ops;
}

static int nicsim_uplink_register(struct nicsim *nic, struct net_device *dev)
{
	int err;

	rtnl_lock();
	err = register_netdevice(dev);
	if (!err)
		rcu_assign_pointer(nic->uplink.rep, dev);
	rtnl_unlock();
	return err;
}

int nicsim_uplink_create(struct nicsim *nic)
{
	struct net_device *dev;
	char name[IFNAMSIZ];
	int err;

	snprintf(name, sizeof(name), "np%d", nic->id);
	dev = nicsim_netdev_alloc(&nic->uplink, name, NICSIM_MAC_PF);
	if (!dev)
		return -ENOMEM;
	dev->netdev_ops = &nicsim_uplink_ops;
	dev->hw_features |= NETIF_F_HW_TC;	/* off at first, as on mlx5 */
	SET_NETDEV_DEV(dev, &nic->pdev->dev);
	SET_NETDEV_DEVLINK_PORT(dev, &nic->uplink.dl_port);
	err = nicsim_uplink_register(nic, dev);
	if (err)
		free_netdev(dev);
	return err;
}

void nicsim_uplink_destroy(struct nicsim *nic)
{
	struct net_device *dev;

	rtnl_lock();
	dev = rtnl_dereference(nic->uplink.rep);
	RCU_INIT_POINTER(nic->uplink.rep, NULL);
	unregister_netdevice(dev);
	rtnl_unlock();
}
