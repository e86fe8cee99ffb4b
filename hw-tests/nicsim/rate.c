// SPDX-License-Identifier: GPL-2.0
/*
 * devlink rates: leaves (one a VF in switchdev mode) and the nodes that group
 * them. devlink keeps the values; the model agrees to them and polices none.
 */
#include "control.h"

int nicsim_rate_set(struct devlink_rate *rate, void *priv, u64 value,
		    struct netlink_ext_ack *extack)
{
	return nicsim_fw_check(nicsim_of_devlink(rate->devlink), extack);
}

int nicsim_rate_node_new(struct devlink_rate *node, void **priv,
			 struct netlink_ext_ack *extack)
{
	struct nicsim *nic = nicsim_of_devlink(node->devlink);

	if (!nicsim_is_switchdev(nic)) {
		NL_SET_ERR_MSG_MOD(extack, "Rate nodes need switchdev mode");
		return -EOPNOTSUPP;
	}
	return nicsim_fw_check(nic, extack);
}

int nicsim_rate_node_del(struct devlink_rate *node, void *priv,
			 struct netlink_ext_ack *extack)
{
	return 0;
}

int nicsim_rate_set_parent(struct devlink_rate *child,
			   struct devlink_rate *parent, void *child_priv,
			   void *parent_priv, struct netlink_ext_ack *extack)
{
	return nicsim_fw_check(nicsim_of_devlink(child->devlink), extack);
}
