// SPDX-License-Identifier: GPL-2.0
/*
 * The module and its PCI driver. The id table is empty: nicsim drives a
 * function only when its driver_override says so, so that another igb in the
 * same machine stays with igb.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include "nicsim.h"

static int nicsim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return -ENODEV;
}

static const struct pci_device_id nicsim_ids[] = {
	{ }
};

static struct pci_driver nicsim_driver = {
	.name = NICSIM_NAME,
	.id_table = nicsim_ids,
	.probe = nicsim_probe,
};
module_pci_driver(nicsim_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A switchdev SR-IOV NIC whose hardware is software");
