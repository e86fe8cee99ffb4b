// SPDX-License-Identifier: GPL-2.0
/*
 * A data plane without a flow table: every filter is refused, every packet
 * misses.
 */
#include "nicsim.h"

int nicsim_flow_init(struct nicsim *nic)
{
	return 0;
}

void nicsim_flow_exit(struct nicsim *nic)
{
}

int nicsim_flow_setup_tc(struct nicsim_vport *vport, enum tc_setup_type type,
			 void *data)
{
	return -EOPNOTSUPP;
}

unsigned int nicsim_flow_count(struct nicsim_vport *vport)
{
	return 0;
}

void nicsim_flow_vport_gone(struct nicsim_vport *vport)
{
}

void nicsim_flow_flush(struct nicsim *nic)
{
}

bool nicsim_flow_rx(struct nicsim_vport *vport, struct sk_buff *skb)
{
	return false;
}
