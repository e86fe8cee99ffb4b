// SPDX-License-Identifier: GPL-2.0
/*
 * To the host: what the card could not finish, and what it was told to pass.
 *
 * With CONFIG_NET_TC_SKB_EXT, as mlx5 does it: a miss in a later chain, or in
 * a ct action, arrives as the card has left it (headers that earlier filters
 * edited are edited, conntrack found in hardware is on the skb) together with
 * the chain, or the action, at which software goes on.
 *
 * Without it nothing can be told to software, which starts in chain 0; so it
 * is given the packet as it came.
 */
#include <linux/netdevice.h>
#include <net/netfilter/nf_conntrack.h>

#include "flow_exec.h"

/* A decapsulated packet comes up at the tunnel device, its keys on the dst. */
static void flow_deliver_tunnel(struct flow_pkt *pkt, struct sk_buff *skb)
{
	skb->dev = pkt->at->dev;
	skb->protocol = eth_type_trans(skb, skb->dev);
	skb_reset_network_header(skb);
	dev_sw_netstats_rx_add(skb->dev, skb->len);
	netif_rx(skb);
}

static bool flow_deliver(struct flow_pkt *pkt)
{
	struct sk_buff *skb = skb_clone(pkt->skb, GFP_ATOMIC);

	atomic64_inc(&pkt->flow->slow);
	if (!skb)
		return true;
	if (pkt->at->tunnel.kind != FLOW_TUNNEL_NONE)
		flow_deliver_tunnel(pkt, skb);
	else
		nicsim_vport_slow(pkt->in, skb);
	return true;
}

#if IS_ENABLED(CONFIG_NET_TC_SKB_EXT)
/*
 * The connection may be on its way out, so its count must not be zero; one
 * that was recycled meanwhile is at worst found to be another's by software.
 */
static void flow_restore_ct(struct sk_buff *skb, unsigned long cookie)
{
	struct nf_conn *ct = (void *)(cookie & NFCT_PTRMASK);

	if (!ct || !refcount_inc_not_zero(&ct->ct_general.use))
		return;
	nf_ct_set(skb, ct, cookie & NFCT_INFOMASK);
}

static bool flow_restore(struct flow_pkt *pkt, enum flow_verdict verdict)
{
	struct tc_skb_ext *ext = tc_skb_ext_alloc(pkt->skb);

	if (!ext)
		return true;
	if (verdict == FLOW_CT_MISS && pkt->miss_cookie) {
		ext->act_miss = 1;
		ext->act_miss_cookie = pkt->miss_cookie;
	} else {
		ext->chain = pkt->chain;
	}
	flow_restore_ct(pkt->skb, pkt->ct.cookie);
	atomic64_inc(&pkt->flow->restored);
	return flow_deliver(pkt);
}
#else
static bool flow_restore(struct flow_pkt *pkt, enum flow_verdict verdict)
{
	return false;
}
#endif

static bool flow_pass(struct flow_pkt *pkt)
{
	/* The host decapsulates what the card only looked into. */
	if (pkt->at->tunnel.kind != FLOW_TUNNEL_NONE)
		return false;
	return pkt->skb != pkt->came && flow_deliver(pkt);
}

bool flow_to_host(struct flow_pkt *pkt, enum flow_verdict verdict)
{
	switch (verdict) {
	case FLOW_ACCEPT:
		return flow_pass(pkt);
	case FLOW_CT_MISS:
		if (pkt->chain || pkt->miss_cookie)
			return flow_restore(pkt, verdict);
		return false;
	case FLOW_MISS:
		atomic64_inc(&pkt->flow->misses);
		return pkt->chain && flow_restore(pkt, verdict);
	default:
		return false;
	}
}
