// SPDX-License-Identifier: GPL-2.0
/*
 * devlink ports: the uplink (physical) and, in switchdev mode, one a VF
 * (pcivf), through which the VF's MAC and state are set. phys_port_name and
 * the representors' phys_switch_id come from the attributes given here.
 */
#include <linux/etherdevice.h>

#include "control.h"

static struct nicsim_vport *nicsim_vport_of_port(struct devlink_port *port)
{
	return container_of(port, struct nicsim_vport, dl_port);
}

static int nicsim_port_mac_get(struct devlink_port *port, u8 *mac, int *len,
			       struct netlink_ext_ack *extack)
{
	ether_addr_copy(mac, nicsim_vport_of_port(port)->cfg.mac);
	*len = ETH_ALEN;
	return 0;
}

static int nicsim_port_mac_set(struct devlink_port *port, const u8 *mac,
			       int len, struct netlink_ext_ack *extack)
{
	struct nicsim_vport *vport = nicsim_vport_of_port(port);
	int err;

	err = nicsim_fw_check(vport->nic, extack);
	if (err)
		return err;
	if (len != ETH_ALEN || is_multicast_ether_addr(mac)) {
		NL_SET_ERR_MSG_MOD(extack, "A VF's MAC must be a unicast Ethernet address");
		return -EINVAL;
	}
	rtnl_lock();
	ether_addr_copy(vport->cfg.mac, mac);
	nicsim_vf_take_mac(vport);
	rtnl_unlock();
	return 0;
}

static int nicsim_port_state_get(struct devlink_port *port,
				 enum devlink_port_fn_state *state,
				 enum devlink_port_fn_opstate *opstate,
				 struct netlink_ext_ack *extack)
{
	struct nicsim_vport *vport = nicsim_vport_of_port(port);

	*state = vport->fn_active ? DEVLINK_PORT_FN_STATE_ACTIVE :
				    DEVLINK_PORT_FN_STATE_INACTIVE;
	*opstate = rcu_access_pointer(vport->fn) ?
			DEVLINK_PORT_FN_OPSTATE_ATTACHED :
			DEVLINK_PORT_FN_OPSTATE_DETACHED;
	return 0;
}

static int nicsim_port_state_set(struct devlink_port *port,
				 enum devlink_port_fn_state state,
				 struct netlink_ext_ack *extack)
{
	struct nicsim_vport *vport = nicsim_vport_of_port(port);
	int err;

	err = nicsim_fw_check(vport->nic, extack);
	if (err)
		return err;
	rtnl_lock();
	vport->fn_active = state == DEVLINK_PORT_FN_STATE_ACTIVE;
	nicsim_carrier_update(vport);
	rtnl_unlock();
	return 0;
}

static const struct devlink_port_ops nicsim_uplink_port_ops = {
};

static const struct devlink_port_ops nicsim_vf_port_ops = {
	.port_fn_hw_addr_get = nicsim_port_mac_get,
	.port_fn_hw_addr_set = nicsim_port_mac_set,
	.port_fn_state_get = nicsim_port_state_get,
	.port_fn_state_set = nicsim_port_state_set,
};

/* With the switch id in either mode, as on mlx5: attributes are for life. */
static int nicsim_uplink_port_register(struct nicsim_vport *vport)
{
	struct devlink_port_attrs attrs = {
		.flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL,
		.phys.port_number = PCI_FUNC(vport->nic->pdev->devfn),
		.switch_id = vport->nic->switch_id,
	};

	devlink_port_attrs_set(&vport->dl_port, &attrs);
	return devl_port_register_with_ops(vport->nic->devlink, &vport->dl_port,
					   NICSIM_UPLINK,
					   &nicsim_uplink_port_ops);
}

static int nicsim_vf_port_register(struct nicsim_vport *vport)
{
	struct devlink_port *port = &vport->dl_port;
	struct nicsim *nic = vport->nic;
	int err;

	port->attrs.switch_id = nic->switch_id;
	devlink_port_attrs_pci_vf_set(port, 0, PCI_FUNC(nic->pdev->devfn),
				      vport->num, false);
	err = devl_port_register_with_ops(nic->devlink, port, vport->num + 1,
					  &nicsim_vf_port_ops);
	if (err)
		return err;
	err = devl_rate_leaf_create(port, vport, NULL);
	if (err)
		devl_port_unregister(port);
	return err;
}

int nicsim_port_register(struct nicsim_vport *vport)
{
	memset(&vport->dl_port, 0, sizeof(vport->dl_port));
	return nicsim_is_uplink(vport) ? nicsim_uplink_port_register(vport) :
					 nicsim_vf_port_register(vport);
}

void nicsim_port_unregister(struct nicsim_vport *vport)
{
	if (!nicsim_is_uplink(vport))
		devl_rate_leaf_destroy(&vport->dl_port);
	devl_port_unregister(&vport->dl_port);
}
