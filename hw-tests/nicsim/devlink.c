// SPDX-License-Identifier: GPL-2.0
/* devlink: who the NIC says it is, and the table of its operations. */
#include "control.h"

#define NICSIM_BOARD_ID		"NICSIM-25G-1P"
#define NICSIM_FW_PSID		"NSM0000000001"

static int nicsim_info_serial(struct nicsim *nic, struct devlink_info_req *req)
{
	char serial[32];

	snprintf(serial, sizeof(serial), "NS-%s", pci_name(nic->pdev));
	return devlink_info_serial_number_put(req, serial);
}

static int nicsim_info_versions(struct devlink_info_req *req)
{
	int err;

	err = devlink_info_version_fixed_put(req,
		DEVLINK_INFO_VERSION_GENERIC_BOARD_ID, NICSIM_BOARD_ID);
	if (err)
		return err;
	err = devlink_info_version_fixed_put(req,
		DEVLINK_INFO_VERSION_GENERIC_FW_PSID, NICSIM_FW_PSID);
	if (err)
		return err;
	err = devlink_info_version_running_put(req,
		DEVLINK_INFO_VERSION_GENERIC_FW, NICSIM_FW_VERSION);
	if (err)
		return err;
	return devlink_info_version_stored_put(req,
		DEVLINK_INFO_VERSION_GENERIC_FW, NICSIM_FW_VERSION);
}

static int nicsim_info_get(struct devlink *devlink,
			   struct devlink_info_req *req,
			   struct netlink_ext_ack *extack)
{
	struct nicsim *nic = nicsim_of_devlink(devlink);
	int err;

	err = nicsim_fw_check(nic, extack);
	if (err)
		return err;
	err = nicsim_info_serial(nic, req);
	if (err)
		return err;
	return nicsim_info_versions(req);
}

const struct devlink_ops nicsim_devlink_ops = {
	.info_get = nicsim_info_get,
	.eswitch_mode_get = nicsim_eswitch_mode_get,
	.eswitch_mode_set = nicsim_eswitch_mode_set,
	.eswitch_inline_mode_get = nicsim_eswitch_inline_get,
	.eswitch_inline_mode_set = nicsim_eswitch_inline_set,
	.eswitch_encap_mode_get = nicsim_eswitch_encap_get,
	.eswitch_encap_mode_set = nicsim_eswitch_encap_set,
	.rate_leaf_tx_share_set = nicsim_rate_set,
	.rate_leaf_tx_max_set = nicsim_rate_set,
	.rate_leaf_parent_set = nicsim_rate_set_parent,
	.rate_node_tx_share_set = nicsim_rate_set,
	.rate_node_tx_max_set = nicsim_rate_set,
	.rate_node_parent_set = nicsim_rate_set_parent,
	.rate_node_new = nicsim_rate_node_new,
	.rate_node_del = nicsim_rate_node_del,
};
