// SPDX-License-Identifier: GPL-2.0
/*
 * The module and its PCI driver. The id table is empty: nicsim drives a
 * function only when its driver_override says so, so that another igb in the
 * same machine stays with igb.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include "control.h"

static int nicsim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? nicsim_vf_probe(pdev) : nicsim_pf_probe(pdev);
}

static void nicsim_remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		nicsim_vf_remove(pdev);
	else
		nicsim_pf_remove(pdev);
}

static const struct pci_device_id nicsim_ids[] = {
	{ }
};

struct pci_driver nicsim_driver = {
	.name = NICSIM_NAME,
	.id_table = nicsim_ids,
	.probe = nicsim_probe,
	.remove = nicsim_remove,
	.sriov_configure = nicsim_sriov_configure,
	.err_handler = &nicsim_reset_handlers,
};

static struct notifier_block nicsim_pci_notifier = {
	.notifier_call = nicsim_sriov_claim,
};

static int __init nicsim_module_init(void)
{
	int err;

	nicsim_debugfs_create();
	err = bus_register_notifier(&pci_bus_type, &nicsim_pci_notifier);
	if (err)
		goto err_debugfs;
	err = pci_register_driver(&nicsim_driver);
	if (err)
		goto err_notifier;
	return 0;

err_notifier:
	bus_unregister_notifier(&pci_bus_type, &nicsim_pci_notifier);
err_debugfs:
	nicsim_debugfs_remove();
	return err;
}

static void __exit nicsim_module_exit(void)
{
	pci_unregister_driver(&nicsim_driver);
	bus_unregister_notifier(&pci_bus_type, &nicsim_pci_notifier);
	nicsim_debugfs_remove();
}

module_init(nicsim_module_init);
module_exit(nicsim_module_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A switchdev SR-IOV NIC whose hardware is software");
