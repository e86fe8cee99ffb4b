// SPDX-License-Identifier: GPL-2.0
/*
 * The wire: the other end of the cable in the uplink, a netdev of its own that
 * a test puts into the top-of-rack namespace. It has no PCI parent, so nobody
 * mistakes it for a port of the NIC.
 */
#include <linux/etherdevice.h>

#include "control.h"

static netdev_tx_t nicsim_wire_xmit(struct sk_buff *skb, struct net_device *dev)
{
	return nicsim_netdev_xmit(skb, dev, nicsim_vport_rx);
}

static const struct net_device_ops nicsim_wire_ops = {
	.ndo_open = nicsim_netdev_open,
	.ndo_stop = nicsim_netdev_stop,
	.ndo_start_xmit = nicsim_wire_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

int nicsim_wire_create(struct nicsim *nic)
{
	struct net_device *dev;
	char name[IFNAMSIZ];
	int err;

	snprintf(name, sizeof(name), "np%dw", nic->id);
	dev = nicsim_netdev_alloc(&nic->uplink, name, NICSIM_MAC_WIRE);
	if (!dev)
		return -ENOMEM;
	dev->netdev_ops = &nicsim_wire_ops;
	rtnl_lock();
	err = register_netdevice(dev);
	if (!err)
		rcu_assign_pointer(nic->uplink.fn, dev);
	rtnl_unlock();
	if (err)
		free_netdev(dev);
	return err;
}

void nicsim_wire_destroy(struct nicsim *nic)
{
	struct net_device *dev;

	rtnl_lock();
	dev = rtnl_dereference(nic->uplink.fn);
	RCU_INIT_POINTER(nic->uplink.fn, NULL);
	unregister_netdevice(dev);
	rtnl_unlock();
}
