// SPDX-License-Identifier: GPL-2.0
/*
 * The e-switch's modes. VFs stay when the mode changes; their representors
 * appear and disappear. Everything here runs under the devlink lock and takes
 * rtnl inside it.
 */
#include "control.h"

static void nicsim_set_mode(struct nicsim *nic, enum devlink_eswitch_mode mode)
{
	ASSERT_RTNL();
	nicsim_legacy_forget(nic);
	WRITE_ONCE(nic->mode, mode);
	nicsim_carrier_update_all(nic);
}

static int nicsim_create_reps(struct nicsim *nic)
{
	u16 i;
	int err;

	for (i = 0; i < nic->num_vfs; i++) {
		err = nicsim_rep_create(&nic->vf[i]);
		if (err) {
			nicsim_reps_destroy(nic, i);
			return err;
		}
	}
	return 0;
}

static void nicsim_leave_switchdev(struct nicsim *nic)
{
	rtnl_lock();
	nicsim_flow_flush(nic);
	nicsim_set_mode(nic, DEVLINK_ESWITCH_MODE_LEGACY);
	rtnl_unlock();
}

static int nicsim_to_switchdev(struct nicsim *nic)
{
	int err;

	rtnl_lock();
	nicsim_set_mode(nic, DEVLINK_ESWITCH_MODE_SWITCHDEV);
	rtnl_unlock();
	err = nicsim_create_reps(nic);
	if (err)
		nicsim_leave_switchdev(nic);
	return err;
}

static void nicsim_to_legacy(struct nicsim *nic)
{
	nicsim_reps_destroy(nic, nic->num_vfs);
	nicsim_leave_switchdev(nic);
}

int nicsim_eswitch_enable_vfs(struct nicsim *nic, u16 num_vfs)
{
	int err = 0;

	nic->num_vfs = num_vfs;
	if (nicsim_is_switchdev(nic))
		err = nicsim_create_reps(nic);
	if (err)
		nic->num_vfs = 0;
	return err;
}

static void nicsim_reset_vports(struct nicsim *nic)
{
	int i;

	rtnl_lock();
	for (i = 0; i < NICSIM_MAX_VFS; i++)
		nicsim_vport_reset(&nic->vf[i]);
	rtnl_unlock();
}

void nicsim_eswitch_disable_vfs(struct nicsim *nic)
{
	if (nicsim_is_switchdev(nic))
		nicsim_reps_destroy(nic, nic->num_vfs);
	nic->num_vfs = 0;
	nicsim_reset_vports(nic);
}

void nicsim_eswitch_teardown(struct nicsim *nic)
{
	if (nicsim_is_switchdev(nic))
		nicsim_to_legacy(nic);
}

int nicsim_eswitch_mode_get(struct devlink *devlink, u16 *mode)
{
	*mode = nicsim_of_devlink(devlink)->mode;
	return 0;
}

static int nicsim_change_mode(struct nicsim *nic, u16 mode,
			      struct netlink_ext_ack *extack)
{
	switch (mode) {
	case DEVLINK_ESWITCH_MODE_SWITCHDEV:
		return nicsim_to_switchdev(nic);
	case DEVLINK_ESWITCH_MODE_LEGACY:
		nicsim_to_legacy(nic);
		return 0;
	default:
		NL_SET_ERR_MSG_MOD(extack, "E-switch modes are legacy and switchdev");
		return -EOPNOTSUPP;
	}
}

int nicsim_eswitch_mode_set(struct devlink *devlink, u16 mode,
			    struct netlink_ext_ack *extack)
{
	struct nicsim *nic = nicsim_of_devlink(devlink);
	int err;

	if (mode == nic->mode)
		return 0;
	err = nicsim_fw_check(nic, extack);
	if (err)
		return err;
	err = nicsim_eswitch_fault(nic, extack);
	if (err)
		return err;
	return nicsim_change_mode(nic, mode, extack);
}

static unsigned int nicsim_filters(struct nicsim *nic)
{
	unsigned int count;
	int i;

	rtnl_lock();
	count = nicsim_flow_count(&nic->uplink);
	for (i = 0; i < NICSIM_MAX_VFS; i++)
		count += nicsim_flow_count(&nic->vf[i]);
	rtnl_unlock();
	return count;
}

/* What filters were translated for cannot change under them. */
static int nicsim_check_no_filters(struct nicsim *nic,
				   struct netlink_ext_ack *extack)
{
	int err = nicsim_fw_check(nic, extack);

	if (err || !nicsim_filters(nic))
		return err;
	NL_SET_ERR_MSG_MOD(extack, "Filters are in hardware; remove them first");
	return -EBUSY;
}

int nicsim_eswitch_inline_get(struct devlink *devlink, u8 *mode)
{
	*mode = nicsim_of_devlink(devlink)->inline_mode;
	return 0;
}

int nicsim_eswitch_inline_set(struct devlink *devlink, u8 mode,
			      struct netlink_ext_ack *extack)
{
	struct nicsim *nic = nicsim_of_devlink(devlink);
	int err;

	if (mode == nic->inline_mode)
		return 0;
	err = nicsim_check_no_filters(nic, extack);
	if (err)
		return err;
	WRITE_ONCE(nic->inline_mode, mode);
	return 0;
}

int nicsim_eswitch_encap_get(struct devlink *devlink,
			     enum devlink_eswitch_encap_mode *mode)
{
	*mode = nicsim_of_devlink(devlink)->encap_mode;
	return 0;
}

int nicsim_eswitch_encap_set(struct devlink *devlink,
			     enum devlink_eswitch_encap_mode mode,
			     struct netlink_ext_ack *extack)
{
	struct nicsim *nic = nicsim_of_devlink(devlink);
	int err;

	if (mode == nic->encap_mode)
		return 0;
	err = nicsim_check_no_filters(nic, extack);
	if (err)
		return err;
	WRITE_ONCE(nic->encap_mode, mode);
	return 0;
}
