// SPDX-License-Identifier: GPL-2.0
/*
 * A VF's PCI function and its netdev. The netdev comes with the binding of the
 * function to nicsim and goes with it; the VF's port in the e-switch stays.
 */
#include <linux/etherdevice.h>

#include "control.h"

/* A bound VF function: its driver data. */
struct nicsim_vf {
	struct nicsim_vport *vport;
	struct pci_dev *pdev;
	struct delayed_work appear;	/* registers the netdev late */
};

static netdev_tx_t nicsim_vf_xmit(struct sk_buff *skb, struct net_device *dev)
{
	return nicsim_netdev_xmit(skb, dev, nicsim_vport_rx);
}

/* A VF keeps the MAC the hypervisor gave it, unless it is trusted. */
static int nicsim_vf_set_mac(struct net_device *dev, void *addr)
{
	const struct nicsim_vf_config *cfg = &nicsim_vport_of(dev)->cfg;
	const struct sockaddr *wanted = addr;

	if (!is_zero_ether_addr(cfg->mac) && !cfg->trusted &&
	    !ether_addr_equal(cfg->mac, wanted->sa_data))
		return -EPERM;
	return eth_mac_addr(dev, addr);
}

static const struct net_device_ops nicsim_vf_ops = {
	.ndo_open = nicsim_netdev_open,
	.ndo_stop = nicsim_netdev_stop,
	.ndo_start_xmit = nicsim_vf_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = nicsim_vf_set_mac,
	.ndo_validate_addr = eth_validate_addr,
};

/* The hypervisor's MAC reaches the VF at once. Under rtnl. */
void nicsim_vf_take_mac(struct nicsim_vport *vport)
{
	struct net_device *dev = rtnl_dereference(vport->fn);

	if (!dev || is_zero_ether_addr(vport->cfg.mac))
		return;
	eth_hw_addr_set(dev, vport->cfg.mac);
	call_netdevice_notifiers(NETDEV_CHANGEADDR, dev);
}

static struct net_device *nicsim_vf_alloc(struct nicsim_vf *vf)
{
	struct nicsim_vport *vport = vf->vport;
	struct net_device *dev;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "np%dv%u", vport->nic->id, vport->num);
	dev = nicsim_netdev_alloc(vport, name, NICSIM_MAC_VF + vport->num);
	if (!dev)
		return NULL;
	dev->netdev_ops = &nicsim_vf_ops;
	SET_NETDEV_DEV(dev, &vf->pdev->dev);
	return dev;
}

static int nicsim_vf_register(struct nicsim_vf *vf)
{
	struct net_device *dev = nicsim_vf_alloc(vf);
	int err;

	if (!dev)
		return -ENOMEM;
	rtnl_lock();
	err = register_netdevice(dev);
	if (!err) {
		rcu_assign_pointer(vf->vport->fn, dev);
		nicsim_vf_take_mac(vf->vport);
	}
	rtnl_unlock();
	if (err)
		free_netdev(dev);
	return err;
}

static void nicsim_vf_appear(struct work_struct *work)
{
	struct nicsim_vf *vf;
	int err;

	vf = container_of(to_delayed_work(work), struct nicsim_vf, appear);
	err = nicsim_vf_register(vf);
	if (err)
		pci_err(vf->pdev, "no netdev: %d\n", err);
}

static int nicsim_vf_appear_now_or_late(struct nicsim_vf *vf)
{
	u32 delay = READ_ONCE(vf->vport->nic->knobs.vf_slow_ms);

	INIT_DELAYED_WORK(&vf->appear, nicsim_vf_appear);
	if (!delay)
		return nicsim_vf_register(vf);
	schedule_delayed_work(&vf->appear, msecs_to_jiffies(delay));
	return 0;
}

int nicsim_vf_probe(struct pci_dev *pdev)
{
	struct nicsim_pf *pf = pci_iov_get_pf_drvdata(pdev, &nicsim_driver);
	int index = pci_iov_vf_id(pdev);
	struct nicsim_vf *vf;
	int err;

	if (IS_ERR_OR_NULL(pf) || index < 0 || index >= NICSIM_MAX_VFS)
		return -ENODEV;
	vf = kzalloc(sizeof(*vf), GFP_KERNEL);
	if (!vf)
		return -ENOMEM;
	vf->vport = &pf->nic.vf[index];
	vf->pdev = pdev;
	pci_set_drvdata(pdev, vf);
	err = nicsim_vf_appear_now_or_late(vf);
	if (err)
		kfree(vf);
	return err;
}

void nicsim_vf_remove(struct pci_dev *pdev)
{
	struct nicsim_vf *vf = pci_get_drvdata(pdev);
	struct net_device *dev;

	cancel_delayed_work_sync(&vf->appear);
	rtnl_lock();
	dev = rtnl_dereference(vf->vport->fn);
	RCU_INIT_POINTER(vf->vport->fn, NULL);
	if (dev)
		unregister_netdevice(dev);
	nicsim_carrier_update(vf->vport);
	rtnl_unlock();
	kfree(vf);
}

static struct net_device *nicsim_reset_netdev(struct pci_dev *pdev)
{
	struct nicsim_vf *vf = pci_get_drvdata(pdev);

	return rtnl_dereference(vf->vport->fn);
}

/* Function level reset: the VF is off the air while it lasts. */
static void nicsim_reset_prepare(struct pci_dev *pdev)
{
	struct net_device *dev;

	if (!pdev->is_virtfn)
		return;
	rtnl_lock();
	dev = nicsim_reset_netdev(pdev);
	if (dev) {
		netif_device_detach(dev);
		netif_carrier_off(dev);
	}
	rtnl_unlock();
}

/* What the VF had set itself is lost; what the hypervisor set is not. */
static void nicsim_reset_done(struct pci_dev *pdev)
{
	struct net_device *dev;

	if (!pdev->is_virtfn)
		return;
	rtnl_lock();
	dev = nicsim_reset_netdev(pdev);
	if (dev) {
		nicsim_vf_take_mac(nicsim_vport_of(dev));
		netif_device_attach(dev);
		nicsim_carrier_update(nicsim_vport_of(dev));
	}
	rtnl_unlock();
}

const struct pci_error_handlers nicsim_reset_handlers = {
	.reset_prepare = nicsim_reset_prepare,
	.reset_done = nicsim_reset_done,
};
