// SPDX-License-Identifier: GPL-2.0
/* The PF: a NIC is built when it is bound and taken apart when it goes. */
#include <linux/idr.h>

#include "control.h"

static DEFINE_IDA(nicsim_ids);

static void nicsim_init(struct nicsim *nic, struct pci_dev *pdev,
			struct devlink *devlink)
{
	const u8 switch_id[] = {
		0x02, 'n', 's', pdev->bus->number, pdev->devfn, 0,
	};
	u16 i;

	nic->pdev = pdev;
	nic->devlink = devlink;
	nic->mode = DEVLINK_ESWITCH_MODE_LEGACY;
	nic->inline_mode = DEVLINK_ESWITCH_INLINE_MODE_NONE;
	nic->encap_mode = DEVLINK_ESWITCH_ENCAP_MODE_BASIC;
	nic->switch_id.id_len = sizeof(switch_id);
	memcpy(nic->switch_id.id, switch_id, sizeof(switch_id));
	nicsim_vport_init(nic, &nic->uplink, NICSIM_UPLINK);
	for (i = 0; i < NICSIM_MAX_VFS; i++)
		nicsim_vport_init(nic, &nic->vf[i], i);
	nicsim_legacy_init(nic);
}

static int nicsim_create_netdevs(struct nicsim *nic)
{
	int err;

	err = nicsim_port_register(&nic->uplink);
	if (err)
		return err;
	err = nicsim_uplink_create(nic);
	if (err)
		goto err_port;
	err = nicsim_wire_create(nic);
	if (err)
		goto err_uplink;
	return 0;

err_uplink:
	nicsim_uplink_destroy(nic);
err_port:
	nicsim_port_unregister(&nic->uplink);
	return err;
}

static void nicsim_destroy_netdevs(struct nicsim *nic)
{
	nicsim_wire_destroy(nic);
	nicsim_uplink_destroy(nic);
	nicsim_port_unregister(&nic->uplink);
}

/* Devlink lock held. */
static int nicsim_start(struct nicsim *nic)
{
	int err;

	err = nicsim_flow_init(nic);
	if (err)
		return err;
	err = nicsim_health_init(nic);
	if (err)
		goto err_flow;
	err = nicsim_create_netdevs(nic);
	if (err)
		goto err_health;
	devl_register(nic->devlink);
	return 0;

err_health:
	nicsim_health_exit(nic);
err_flow:
	nicsim_flow_exit(nic);
	return err;
}

/* Devlink lock held. */
static void nicsim_stop(struct nicsim *nic)
{
	devl_unregister(nic->devlink);
	devl_rate_nodes_destroy(nic->devlink);
	nicsim_eswitch_teardown(nic);
	nicsim_destroy_netdevs(nic);
	nicsim_health_exit(nic);
	nicsim_flow_exit(nic);
}

int nicsim_pf_probe(struct pci_dev *pdev)
{
	struct devlink *devlink;
	struct nicsim_pf *pf;
	int err;

	devlink = devlink_alloc(&nicsim_devlink_ops, sizeof(*pf), &pdev->dev);
	if (!devlink)
		return -ENOMEM;
	pf = devlink_priv(devlink);
	nicsim_init(&pf->nic, pdev, devlink);
	pf->nic.id = ida_alloc(&nicsim_ids, GFP_KERNEL);
	if (pf->nic.id < 0) {
		err = pf->nic.id;
		goto err_devlink;
	}
	pci_set_drvdata(pdev, pf);
	pci_sriov_set_totalvfs(pdev, NICSIM_MAX_VFS);
	nicsim_fault_init(&pf->nic);
	devl_lock(devlink);
	err = nicsim_start(&pf->nic);
	devl_unlock(devlink);
	if (err)
		goto err_fault;
	return 0;

err_fault:
	nicsim_fault_exit(&pf->nic);
	ida_free(&nicsim_ids, pf->nic.id);
err_devlink:
	devlink_free(devlink);
	return err;
}

/*
 * The VFs go first: pci_disable_sriov() returns when no VF driver, ours or
 * vfio-pci, uses one any more. debugfs goes before the devlink lock is taken,
 * because removing a file waits for its writers, and they may want that lock.
 */
void nicsim_pf_remove(struct pci_dev *pdev)
{
	struct nicsim_pf *pf = pci_get_drvdata(pdev);
	struct devlink *devlink = pf->nic.devlink;

	nicsim_sriov_configure(pdev, 0);
	nicsim_fault_exit(&pf->nic);
	devl_lock(devlink);
	nicsim_stop(&pf->nic);
	devl_unlock(devlink);
	pci_sriov_set_totalvfs(pdev, 0);	/* as the device says */
	ida_free(&nicsim_ids, pf->nic.id);
	devlink_free(devlink);
}
