// SPDX-License-Identifier: GPL-2.0
/*
 * VF representors: the near side of a VF's port. What misses the flow table
 * is received here; what is sent here reaches the VF.
 */
#include <linux/etherdevice.h>

#include "control.h"

static netdev_tx_t nicsim_rep_xmit(struct sk_buff *skb, struct net_device *dev)
{
	return nicsim_netdev_xmit(skb, dev, nicsim_vport_tx);
}

static int nicsim_rep_setup_tc(struct net_device *dev, enum tc_setup_type type,
			       void *data)
{
	return nicsim_flow_setup_tc(nicsim_vport_of(dev), type, data);
}

static const struct net_device_ops nicsim_rep_ops = {
	.ndo_open = nicsim_netdev_open,
	.ndo_stop = nicsim_netdev_stop,
	.ndo_start_xmit = nicsim_rep_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_features = nicsim_set_features,
	.ndo_setup_tc = nicsim_rep_setup_tc,
};

bool nicsim_is_rep(const struct net_device *dev)
{
	return dev->netdev_ops == &nicsim_rep_ops;
}

static void nicsim_rep_name(const struct nicsim_vport *vport, char *name)
{
	if (READ_ONCE(vport->nic->knobs.rep_unnamed))
		strscpy(name, "eth%d", IFNAMSIZ);
	else
		snprintf(name, IFNAMSIZ, "np%dr%u", vport->nic->id, vport->num);
}

static struct net_device *nicsim_rep_alloc(struct nicsim_vport *vport)
{
	struct net_device *dev;
	char name[IFNAMSIZ];

	nicsim_rep_name(vport, name);
	dev = nicsim_netdev_alloc(vport, name, NICSIM_MAC_REP + vport->num);
	if (!dev)
		return NULL;
	dev->netdev_ops = &nicsim_rep_ops;
	dev->hw_features |= NETIF_F_HW_TC;
	dev->features |= NETIF_F_HW_TC;
	SET_NETDEV_DEV(dev, &vport->nic->pdev->dev);
	SET_NETDEV_DEVLINK_PORT(dev, &vport->dl_port);
	return dev;
}

static int nicsim_rep_register(struct nicsim_vport *vport)
{
	struct net_device *dev = nicsim_rep_alloc(vport);
	int err;

	if (!dev)
		return -ENOMEM;
	rtnl_lock();
	err = register_netdevice(dev);
	if (!err) {
		rcu_assign_pointer(vport->rep, dev);
		nicsim_carrier_update(vport);
	}
	rtnl_unlock();
	if (err)
		free_netdev(dev);
	return err;
}

void nicsim_rep_appear(struct work_struct *work)
{
	struct nicsim_vport *vport;
	int err;

	vport = container_of(to_delayed_work(work), struct nicsim_vport,
			     rep_work);
	err = nicsim_rep_register(vport);
	if (err)
		pci_err(vport->nic->pdev, "no representor for VF %u: %d\n",
			vport->num, err);
}

static int nicsim_rep_appear_now_or_late(struct nicsim_vport *vport)
{
	u32 delay = READ_ONCE(vport->nic->knobs.rep_slow_ms);

	if (!delay)
		return nicsim_rep_register(vport);
	schedule_delayed_work(&vport->rep_work, msecs_to_jiffies(delay));
	return 0;
}

int nicsim_rep_create(struct nicsim_vport *vport)
{
	int err;

	err = nicsim_port_register(vport);
	if (err)
		return err;
	err = nicsim_rep_appear_now_or_late(vport);
	if (err)
		nicsim_port_unregister(vport);
	return err;
}

/* Off the air; its filters go first. The caller unregisters what is queued. */
static void nicsim_rep_retire(struct nicsim_vport *vport,
			      struct list_head *queue)
{
	struct net_device *dev = rtnl_dereference(vport->rep);

	if (!dev)
		return;
	nicsim_flow_vport_gone(vport);
	RCU_INIT_POINTER(vport->rep, NULL);
	unregister_netdevice_queue(dev, queue);
}

/* Together, because each unregistration alone waits for RCU. */
static void nicsim_reps_unregister(struct nicsim *nic, u16 count)
{
	LIST_HEAD(queue);
	u16 i;

	rtnl_lock();
	for (i = 0; i < count; i++)
		nicsim_rep_retire(&nic->vf[i], &queue);
	unregister_netdevice_many(&queue);
	nicsim_carrier_update_all(nic);
	rtnl_unlock();
}

/* The representors of the first count VFs. */
void nicsim_reps_destroy(struct nicsim *nic, u16 count)
{
	u16 i;

	for (i = 0; i < count; i++)
		cancel_delayed_work_sync(&nic->vf[i].rep_work);
	nicsim_reps_unregister(nic, count);
	for (i = 0; i < count; i++)
		nicsim_port_unregister(&nic->vf[i]);
}
