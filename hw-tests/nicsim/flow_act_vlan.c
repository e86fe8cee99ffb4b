// SPDX-License-Identifier: GPL-2.0
/* vlan push, pop and modify, with the kernel's own helpers for the bytes. */
#include <linux/if_vlan.h>

#include "flow_exec.h"

static u16 flow_vlan_tci(const struct flow_step *step)
{
	return step->vlan.vid | (step->vlan.prio << VLAN_PRIO_SHIFT);
}

static int flow_vlan_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			   const struct flow_action_entry *entry)
{
	step->vlan.vid = entry->vlan.vid;
	step->vlan.prio = entry->vlan.prio;
	step->vlan.proto = entry->vlan.proto ?: htons(ETH_P_8021Q);
	return 0;
}

static int flow_vlan_pop_parse(struct flow_act_ctx *ctx,
			       struct flow_step *step,
			       const struct flow_action_entry *entry)
{
	return 0;
}

static enum flow_verdict flow_vlan_push_exec(struct flow_pkt *pkt,
					     const struct flow_step *step)
{
	if (!flow_pkt_writable(pkt) ||
	    skb_vlan_push(pkt->skb, step->vlan.proto, flow_vlan_tci(step)))
		return FLOW_DONE;
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_vlan_push = {
	.name = "vlan push",
	.parse = flow_vlan_parse,
	.exec = flow_vlan_push_exec,
};

/* A packet without a tag has none to pop: not an error, as in software. */
static enum flow_verdict flow_vlan_pop_exec(struct flow_pkt *pkt,
					    const struct flow_step *step)
{
	if (!flow_pkt_writable(pkt) || skb_vlan_pop(pkt->skb))
		return FLOW_DONE;
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_vlan_pop = {
	.name = "vlan pop",
	.parse = flow_vlan_pop_parse,
	.exec = flow_vlan_pop_exec,
};

/* The tag's priority stays unless the action sets one, as in act_vlan. */
static u16 flow_vlan_modified(u16 tci, const struct flow_step *step)
{
	tci = (tci & ~VLAN_VID_MASK) | step->vlan.vid;
	if (step->vlan.prio)
		tci = (tci & ~VLAN_PRIO_MASK) |
		      (step->vlan.prio << VLAN_PRIO_SHIFT);
	return tci;
}

static enum flow_verdict flow_vlan_mangle_exec(struct flow_pkt *pkt,
					       const struct flow_step *step)
{
	u16 tci;

	if (!skb_vlan_tagged(pkt->skb))
		return FLOW_NEXT;
	if (!flow_pkt_writable(pkt))
		return FLOW_DONE;
	if (skb_vlan_tag_present(pkt->skb)) {
		tci = skb_vlan_tag_get(pkt->skb);
		__vlan_hwaccel_clear_tag(pkt->skb);
	} else if (__skb_vlan_pop(pkt->skb, &tci)) {
		return FLOW_DONE;
	}
	__vlan_hwaccel_put_tag(pkt->skb, step->vlan.proto,
			       flow_vlan_modified(tci, step));
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_vlan_mangle = {
	.name = "vlan modify",
	.parse = flow_vlan_parse,
	.exec = flow_vlan_mangle_exec,
};
