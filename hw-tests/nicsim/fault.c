// SPDX-License-Identifier: GPL-2.0
/* Faults on demand, and the answers to "does this one fail?". */
#include "nicsim.h"

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
