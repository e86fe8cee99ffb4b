// SPDX-License-Identifier: GPL-2.0
/*
 * Faults on demand and limits: the files in debugfs nicsim/<pci address>/, the
 * module parameters that give some of them their first value, and the answers
 * to "does this one fail?".
 */
#include <linux/debugfs.h>
#include <linux/moduleparam.h>
#include <linux/uaccess.h>

#include "control.h"

static const char * const nicsim_profiles[] = {
	[NICSIM_PROFILE_ANY] = "any",
	[NICSIM_PROFILE_MLX5] = "mlx5",
	[NICSIM_PROFILE_ICE] = "ice",
};

static char *profile = "any";
module_param(profile, charp, 0444);
MODULE_PARM_DESC(profile, "Whose refusals to imitate: any, mlx5 or ice");

static unsigned int capacity;
module_param(capacity, uint, 0444);
MODULE_PARM_DESC(capacity, "Filters the flow table holds; 0 means no limit");

static unsigned int insert_latency_us;
module_param(insert_latency_us, uint, 0444);
MODULE_PARM_DESC(insert_latency_us, "Time each insertion takes");

static struct dentry *nicsim_debugfs_root;

void nicsim_debugfs_create(void)
{
	nicsim_debugfs_root = debugfs_create_dir(NICSIM_NAME, NULL);
}

void nicsim_debugfs_remove(void)
{
	debugfs_remove_recursive(nicsim_debugfs_root);
}

bool nicsim_insert_fault(struct nicsim *nic)
{
	u32 left = READ_ONCE(nic->knobs.insert_fail_nth);

	if (!left)
		return false;
	WRITE_ONCE(nic->knobs.insert_fail_nth, left - 1);
	return left == 1;
}

int nicsim_fw_check(struct nicsim *nic, struct netlink_ext_ack *extack)
{
	if (!READ_ONCE(nic->knobs.fw_hang))
		return 0;
	NL_SET_ERR_MSG_MOD(extack, "Firmware does not answer; recover it with devlink health");
	return -ETIMEDOUT;
}

/* Does this mode change fail? Devlink lock held. */
int nicsim_eswitch_fault(struct nicsim *nic, struct netlink_ext_ack *extack)
{
	struct nicsim_knobs *knobs = &nic->knobs;

	if (READ_ONCE(knobs->eswitch_busy)) {
		NL_SET_ERR_MSG_MOD(extack, "E-switch is busy: another user holds its mode");
		return -EBUSY;
	}
	if (READ_ONCE(knobs->eswitch_fail)) {
		knobs->eswitch_fail--;
		NL_SET_ERR_MSG_MOD(extack, "Firmware failed to change the e-switch mode");
		return -EIO;
	}
	return 0;
}

static int nicsim_fw_hang_get(void *data, u64 *on)
{
	struct nicsim *nic = data;

	*on = READ_ONCE(nic->knobs.fw_hang);
	return 0;
}

static int nicsim_fw_hang_set(void *data, u64 on)
{
	struct nicsim *nic = data;
	bool hung = READ_ONCE(nic->knobs.fw_hang);

	if (hung == !!on)
		return 0;
	WRITE_ONCE(nic->knobs.fw_hang, !!on);
	if (on)
		nicsim_health_hang(nic);
	else
		nicsim_health_heal(nic);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nicsim_fw_hang_fops, nicsim_fw_hang_get,
			 nicsim_fw_hang_set, "%llu\n");

static int nicsim_link_down_get(void *data, u64 *on)
{
	struct nicsim *nic = data;

	*on = READ_ONCE(nic->knobs.link_down);
	return 0;
}

static int nicsim_link_down_set(void *data, u64 on)
{
	struct nicsim *nic = data;

	rtnl_lock();
	WRITE_ONCE(nic->knobs.link_down, !!on);
	nicsim_carrier_update_all(nic);
	rtnl_unlock();
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nicsim_link_down_fops, nicsim_link_down_get,
			 nicsim_link_down_set, "%llu\n");

static int nicsim_flr_set(void *data, u64 index)
{
	struct nicsim *nic = data;
	struct pci_dev *vf;
	int err;

	if (index >= NICSIM_MAX_VFS)
		return -EINVAL;
	vf = nicsim_vf_function(nic->pdev, index);
	if (!vf)
		return -ENODEV;
	err = pci_reset_function(vf);
	pci_dev_put(vf);
	return err;
}
DEFINE_DEBUGFS_ATTRIBUTE(nicsim_flr_fops, NULL, nicsim_flr_set, "%llu\n");

static ssize_t nicsim_profile_read(struct file *file, char __user *buf,
				   size_t size, loff_t *pos)
{
	struct nicsim *nic = file->private_data;
	char text[16];
	int len;

	len = scnprintf(text, sizeof(text), "%s\n",
			nicsim_profiles[READ_ONCE(nic->knobs.profile)]);
	return simple_read_from_buffer(buf, size, pos, text, len);
}

static ssize_t nicsim_profile_write(struct file *file, const char __user *buf,
				    size_t size, loff_t *pos)
{
	struct nicsim *nic = file->private_data;
	char text[16] = "";
	int index;

	if (size >= sizeof(text) || copy_from_user(text, buf, size))
		return -EINVAL;
	index = sysfs_match_string(nicsim_profiles, text);
	if (index < 0)
		return index;
	WRITE_ONCE(nic->knobs.profile, index);
	return size;
}

static const struct file_operations nicsim_profile_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = nicsim_profile_read,
	.write = nicsim_profile_write,
};

static void nicsim_knobs_init(struct nicsim_knobs *knobs)
{
	int index = sysfs_match_string(nicsim_profiles, profile);

	if (index < 0)
		pr_warn("nicsim: no profile '%s', taking 'any'\n", profile);
	knobs->profile = index < 0 ? NICSIM_PROFILE_ANY : index;
	knobs->capacity = capacity;
	knobs->insert_latency_us = insert_latency_us;
}

void nicsim_fault_init(struct nicsim *nic)
{
	struct nicsim_knobs *knobs = &nic->knobs;
	struct dentry *dir;

	nicsim_knobs_init(knobs);
	dir = debugfs_create_dir(pci_name(nic->pdev), nicsim_debugfs_root);
	nic->debugfs = dir;
	debugfs_create_file("profile", 0600, dir, nic, &nicsim_profile_fops);
	debugfs_create_u32("capacity", 0600, dir, &knobs->capacity);
	debugfs_create_u32("insert_latency_us", 0600, dir,
			   &knobs->insert_latency_us);
	debugfs_create_u32("insert_fail_nth", 0600, dir,
			   &knobs->insert_fail_nth);
	debugfs_create_u32("vf_slow_ms", 0600, dir, &knobs->vf_slow_ms);
	debugfs_create_u32("rep_slow_ms", 0600, dir, &knobs->rep_slow_ms);
	debugfs_create_bool("rep_unnamed", 0600, dir, &knobs->rep_unnamed);
	debugfs_create_u32("eswitch_fail", 0600, dir, &knobs->eswitch_fail);
	debugfs_create_bool("eswitch_busy", 0600, dir, &knobs->eswitch_busy);
	debugfs_create_file_unsafe("fw_hang", 0600, dir, nic,
				   &nicsim_fw_hang_fops);
	debugfs_create_file_unsafe("link_down", 0600, dir, nic,
				   &nicsim_link_down_fops);
	debugfs_create_file_unsafe("flr", 0200, dir, nic, &nicsim_flr_fops);
}

void nicsim_fault_exit(struct nicsim *nic)
{
	debugfs_remove_recursive(nic->debugfs);
	nic->debugfs = NULL;
}
