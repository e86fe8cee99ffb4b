// SPDX-License-Identifier: GPL-2.0
/*
 * A packet walks the chains of the port it entered at. From the wire, a packet
 * that misses chain 0 of the uplink and carries a tunnel header is looked up
 * once more, without that header, in the filters of the tunnel device: the
 * order in which software would meet the two.
 */
#include "flow_exec.h"

/* As many as the kernel's own classifier follows before it gives up. */
#define FLOW_MAX_GOTOS	16
/* For VLAN tags and outer headers. */
#define FLOW_HEADROOM	128

bool flow_pkt_writable(struct flow_pkt *pkt)
{
	struct sk_buff *copy;

	if (pkt->skb != pkt->came && !skb_cloned(pkt->skb))
		return true;
	copy = skb_copy_expand(pkt->skb, FLOW_HEADROOM, 0, GFP_ATOMIC);
	if (!copy)
		return false;
	if (pkt->skb != pkt->came)
		consume_skb(pkt->skb);
	pkt->skb = copy;
	return true;
}

static unsigned int flow_pkt_len(const struct flow_pkt *pkt)
{
	return pkt->skb->len +
	       (skb_vlan_tag_present(pkt->skb) ? VLAN_HLEN : 0);
}

static enum flow_verdict flow_walk(struct flow_pkt *pkt)
{
	enum flow_verdict verdict;
	struct flow_filter *f;
	unsigned int gotos;

	for (gotos = 0; gotos <= FLOW_MAX_GOTOS; gotos++) {
		if (!flow_parse(pkt))
			return FLOW_DONE;
		f = flow_table_lookup(pkt->at, pkt->chain, &pkt->key,
				      skb_protocol(pkt->skb, false));
		if (!f)
			return FLOW_MISS;
		pkt->filter = f;
		flow_counter_add(&f->counter, flow_pkt_len(pkt));
		verdict = flow_actions_run(pkt, f);
		if (verdict != FLOW_GOTO)
			return verdict;
	}
	return FLOW_DONE;
}

/* True: came is consumed. */
static bool flow_walk_from(struct flow_pkt *pkt)
{
	enum flow_verdict verdict = flow_walk(pkt);
	bool consumed;

	if (verdict == FLOW_DONE) {
		atomic64_inc(&pkt->flow->hits);
		consumed = true;
	} else {
		consumed = flow_to_host(pkt, verdict);
	}
	if (pkt->skb != pkt->came)
		consume_skb(pkt->skb);
	if (consumed)
		consume_skb(pkt->came);
	return consumed;
}

static bool flow_exec_port(struct nicsim_flow *flow, struct nicsim_vport *in,
			   struct sk_buff *skb, bool *missed)
{
	struct flow_pkt pkt = {
		.flow = flow,
		.in = in,
		.at = rcu_dereference(*flow_port_slot(in)),
		.came = skb,
		.skb = skb,
	};
	bool consumed;

	*missed = true;
	if (!pkt.at)
		return false;
	consumed = flow_walk_from(&pkt);
	*missed = !consumed && !pkt.filter;
	return consumed;
}

static bool flow_exec_tunnel(struct nicsim_flow *flow, struct nicsim_vport *in,
			     struct sk_buff *skb, struct flow_attach *at)
{
	struct flow_pkt pkt = {
		.flow = flow,
		.in = in,
		.at = at,
		.came = skb,
	};

	pkt.skb = flow_tunnel_decap(skb, &at->tunnel);
	return pkt.skb && flow_walk_from(&pkt);
}

static bool flow_exec_tunnels(struct nicsim_flow *flow,
			      struct nicsim_vport *in, struct sk_buff *skb)
{
	struct flow_attach *at;

	list_for_each_entry_rcu(at, &flow->attaches, node)
		if (at->tunnel.kind != FLOW_TUNNEL_NONE &&
		    flow_exec_tunnel(flow, in, skb, at))
			return true;
	return false;
}

bool flow_exec(struct nicsim_flow *flow, struct nicsim_vport *in,
	       struct sk_buff *skb)
{
	bool missed;

	if (flow_exec_port(flow, in, skb, &missed))
		return true;
	if (missed && nicsim_is_uplink(in) &&
	    flow_exec_tunnels(flow, in, skb))
		return true;
	atomic64_inc(&flow->slow);
	return false;
}
