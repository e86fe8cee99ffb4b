// SPDX-License-Identifier: GPL-2.0
/*
 * The health reporter "fw". A hung firmware is reported once; automatic
 * recovery fails, as it does on a card that needs a person, and only
 * "devlink health recover" brings it back.
 */
#include "control.h"

#define NICSIM_FW_SYNDROME	0x1f

static int nicsim_fw_recover(struct devlink_health_reporter *reporter,
			     void *event, struct netlink_ext_ack *extack)
{
	struct nicsim *nic = devlink_health_reporter_priv(reporter);

	if (event)
		return -ECANCELED;
	WRITE_ONCE(nic->knobs.fw_hang, false);
	return 0;
}

static int nicsim_fw_dump(struct devlink_health_reporter *reporter,
			  struct devlink_fmsg *fmsg, void *event,
			  struct netlink_ext_ack *extack)
{
	struct nicsim *nic = devlink_health_reporter_priv(reporter);

	devlink_fmsg_string_pair_put(fmsg, "device", pci_name(nic->pdev));
	devlink_fmsg_u32_pair_put(fmsg, "syndrome",
				  READ_ONCE(nic->knobs.fw_hang) ?
				  NICSIM_FW_SYNDROME : 0);
	devlink_fmsg_u32_pair_put(fmsg, "num_vfs", nic->num_vfs);
	return 0;
}

static int nicsim_fw_diagnose(struct devlink_health_reporter *reporter,
			      struct devlink_fmsg *fmsg,
			      struct netlink_ext_ack *extack)
{
	struct nicsim *nic = devlink_health_reporter_priv(reporter);

	devlink_fmsg_string_pair_put(fmsg, "firmware",
				     READ_ONCE(nic->knobs.fw_hang) ?
				     "hung" : "running");
	return 0;
}

static const struct devlink_health_reporter_ops nicsim_fw_ops = {
	.name = "fw",
	.recover = nicsim_fw_recover,
	.dump = nicsim_fw_dump,
	.diagnose = nicsim_fw_diagnose,
};

int nicsim_health_init(struct nicsim *nic)
{
	struct nicsim_pf *pf = nicsim_pf(nic);
	struct devlink_health_reporter *fw;

	fw = devl_health_reporter_create(nic->devlink, &nicsim_fw_ops, 0, nic);
	if (IS_ERR(fw))
		return PTR_ERR(fw);
	pf->fw = fw;
	return 0;
}

void nicsim_health_exit(struct nicsim *nic)
{
	devl_health_reporter_destroy(nicsim_pf(nic)->fw);
}

/* No lock held: devlink takes its own. */
void nicsim_health_hang(struct nicsim *nic)
{
	devlink_health_report(nicsim_pf(nic)->fw, "Firmware does not answer",
			      nic);
}

void nicsim_health_heal(struct nicsim *nic)
{
	devlink_health_reporter_state_update(nicsim_pf(nic)->fw,
					     DEVLINK_HEALTH_REPORTER_STATE_HEALTHY);
}
