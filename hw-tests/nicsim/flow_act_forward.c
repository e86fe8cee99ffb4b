// SPDX-License-Identifier: GPL-2.0
/*
 * mirred redirect and mirror. A representor stands for its VF, the PF's netdev
 * for the wire, and a tunnel device for the wire behind an outer header. Every
 * destination gets a clone; whoever edits next copies first.
 */
#include <linux/slab.h>

#include "flow_exec.h"

static int flow_target_tunnel(struct flow_act_ctx *ctx,
			      struct flow_target *target)
{
	if (!ctx->encap) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "A tunnel device is a destination only behind tunnel_key set");
		return -EOPNOTSUPP;
	}
	target->kind = FLOW_TARGET_TUNNEL;
	target->encap = ctx->encap;
	target->vport = &ctx->flow->nic->uplink;
	return flow_tunnel_check(ctx->flow, &target->tunnel, ctx->encap,
				 ctx->extack);
}

static int flow_forward_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			      const struct flow_action_entry *entry)
{
	struct flow_target *target = &step->target;

	/* NULL when tc replays a filter whose device is gone. */
	if (!entry->dev) {
		NL_SET_ERR_MSG_MOD(ctx->extack, "The destination device is gone");
		return -ENODEV;
	}
	step->last = entry->id == FLOW_ACTION_REDIRECT;
	target->tunnel = flow_tunnel_of(entry->dev);
	if (target->tunnel.kind != FLOW_TUNNEL_NONE)
		return flow_target_tunnel(ctx, target);

	rcu_read_lock();
	target->vport = nicsim_vport_of_rep(ctx->flow->nic, entry->dev);
	rcu_read_unlock();
	if (!target->vport) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "Devices are not on the same switch, can't offload forwarding");
		return -EOPNOTSUPP;
	}
	target->kind = FLOW_TARGET_PORT;
	return 0;
}

static void flow_forward(struct flow_pkt *pkt, const struct flow_target *target)
{
	struct sk_buff *skb;

	if (target->kind == FLOW_TARGET_TUNNEL)
		skb = flow_tunnel_encap(pkt->flow, pkt->skb, &target->tunnel,
					target->encap);
	else
		skb = skb_clone(pkt->skb, GFP_ATOMIC);
	if (skb)
		nicsim_vport_tx(target->vport, skb);
	else
		atomic64_inc(&pkt->filter->counter.drops);
}

static enum flow_verdict flow_redirect_exec(struct flow_pkt *pkt,
					    const struct flow_step *step)
{
	flow_forward(pkt, &step->target);
	return FLOW_DONE;
}

const struct flow_act_ops flow_act_redirect = {
	.name = "redirect",
	.parse = flow_forward_parse,
	.exec = flow_redirect_exec,
};

static enum flow_verdict flow_mirror_exec(struct flow_pkt *pkt,
					  const struct flow_step *step)
{
	flow_forward(pkt, &step->target);
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_mirror = {
	.name = "mirror",
	.parse = flow_forward_parse,
	.exec = flow_mirror_exec,
};
