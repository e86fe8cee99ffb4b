// SPDX-License-Identifier: GPL-2.0
/*
 * The e-switch's ports as packets see them: out to the function or the wire,
 * and aside to the representor.
 */
#include "nicsim.h"

struct nicsim_vport *nicsim_vport_of_rep(struct nicsim *nic,
					 const struct net_device *dev)
{
	return NULL;
}

void nicsim_vport_tx(struct nicsim_vport *vport, struct sk_buff *skb)
{
	kfree_skb(skb);
}

void nicsim_vport_slow(struct nicsim_vport *vport, struct sk_buff *skb)
{
	kfree_skb(skb);
}
