// SPDX-License-Identifier: GPL-2.0
/*
 * sriov_numvfs. The PCI core creates and destroys the VF functions; what is
 * ours is that they come to nicsim although its id table is empty: each gets
 * nicsim as driver_override before its first probe. With
 * sriov_drivers_autoprobe off that would bind it all the same, so then it
 * gets the override after, and stays unbound until somebody probes it.
 */
#include <linux/kernfs.h>
#include <linux/sysfs.h>

#include "control.h"

/* Stable 6.12 moved driver_override from the PCI device to the device. */
#ifdef NICSIM_OVERRIDE_IN_DEVICE
static int nicsim_override(struct pci_dev *vf)
{
	return device_set_driver_override(&vf->dev, NICSIM_NAME);
}

static bool nicsim_has_override(struct pci_dev *vf)
{
	return device_has_driver_override(&vf->dev);
}
#else
static int nicsim_override(struct pci_dev *vf)
{
	return driver_set_override(&vf->dev, &vf->driver_override, NICSIM_NAME,
				   strlen(NICSIM_NAME));
}

static bool nicsim_has_override(struct pci_dev *vf)
{
	return vf->driver_override;
}
#endif

/*
 * The PCI core keeps sriov_drivers_autoprobe to itself, so ask the way a
 * reader of the sysfs file does.
 */
static bool nicsim_autoprobe(struct pci_dev *pf)
{
	struct device_attribute *attribute;
	struct kernfs_node *file;
	bool on = true;
	char *page;

	page = (char *)get_zeroed_page(GFP_KERNEL);
	file = sysfs_get_dirent(pf->dev.kobj.sd, "sriov_drivers_autoprobe");
	if (page && file) {
		attribute = container_of(file->priv, struct device_attribute,
					 attr);
		attribute->show(&pf->dev, attribute, page);
		if (kstrtobool(page, &on))
			on = true;
	}
	if (file)
		kernfs_put(file);
	free_page((unsigned long)page);
	return on;
}

/* Bus notifier: a VF of ours was added and not probed yet. */
int nicsim_sriov_claim(struct notifier_block *nb, unsigned long event,
		       void *data)
{
	struct pci_dev *vf = to_pci_dev((struct device *)data);

	if (event != BUS_NOTIFY_ADD_DEVICE || !vf->is_virtfn)
		return NOTIFY_DONE;
	if (vf->physfn->driver != &nicsim_driver ||
	    !nicsim_autoprobe(vf->physfn))
		return NOTIFY_DONE;
	if (nicsim_override(vf))
		pci_err(vf, "no memory for driver_override\n");
	return NOTIFY_OK;
}

static bool nicsim_is_vf_of(struct pci_dev *vf, struct pci_dev *pf)
{
	return vf->is_virtfn && vf->physfn == pf;
}

/* The caller puts the reference. NULL if there is no such VF. */
struct pci_dev *nicsim_vf_function(struct pci_dev *pf, int index)
{
	struct pci_dev *vf = NULL;

	for_each_pci_dev(vf)
		if (nicsim_is_vf_of(vf, pf) && pci_iov_vf_id(vf) == index)
			return vf;
	return NULL;
}

static void nicsim_claim_unprobed(struct pci_dev *pf)
{
	struct pci_dev *vf = NULL;

	for_each_pci_dev(vf)
		if (nicsim_is_vf_of(vf, pf) && !nicsim_has_override(vf))
			nicsim_override(vf);
}

static void nicsim_disable_vfs(struct nicsim *nic)
{
	devl_lock(nic->devlink);
	nicsim_eswitch_disable_vfs(nic);
	devl_unlock(nic->devlink);
}

static int nicsim_enable_vfs(struct nicsim *nic, int num_vfs)
{
	int err;

	if (num_vfs > NICSIM_MAX_VFS)
		return -EINVAL;
	devl_lock(nic->devlink);
	err = nicsim_fw_check(nic, NULL);
	if (!err)
		err = nicsim_eswitch_enable_vfs(nic, num_vfs);
	devl_unlock(nic->devlink);
	return err;
}

static int nicsim_sriov_enable(struct nicsim *nic, int num_vfs)
{
	int err;

	err = nicsim_enable_vfs(nic, num_vfs);
	if (err)
		return err;
	err = pci_enable_sriov(nic->pdev, num_vfs);
	if (err) {
		nicsim_disable_vfs(nic);
		return err;
	}
	nicsim_claim_unprobed(nic->pdev);
	return num_vfs;
}

int nicsim_sriov_configure(struct pci_dev *pdev, int num_vfs)
{
	struct nicsim_pf *pf = pci_get_drvdata(pdev);

	if (num_vfs)
		return nicsim_sriov_enable(&pf->nic, num_vfs);
	pci_disable_sriov(pdev);
	nicsim_disable_vfs(&pf->nic);
	return 0;
}
