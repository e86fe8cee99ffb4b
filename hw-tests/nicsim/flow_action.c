// SPDX-License-Identifier: GPL-2.0
/*
 * A flower action list becomes an array of steps. Each kind of action is a
 * flow_act_ops in one of the flow_act_*.c files; this file is the list of
 * them, the rules about what may follow what, and the loop that runs them.
 */
#include <linux/slab.h>

#include "flow_exec.h"

static const struct flow_act_ops *const flow_acts[NUM_FLOW_ACTIONS] = {
	[FLOW_ACTION_ACCEPT] = &flow_act_accept,
	[FLOW_ACTION_DROP] = &flow_act_drop,
	[FLOW_ACTION_TRAP] = &flow_act_trap,
	[FLOW_ACTION_GOTO] = &flow_act_goto,
	[FLOW_ACTION_REDIRECT] = &flow_act_redirect,
	[FLOW_ACTION_MIRRED] = &flow_act_mirror,
	[FLOW_ACTION_VLAN_PUSH] = &flow_act_vlan_push,
	[FLOW_ACTION_VLAN_POP] = &flow_act_vlan_pop,
	[FLOW_ACTION_VLAN_MANGLE] = &flow_act_vlan_mangle,
	[FLOW_ACTION_TUNNEL_ENCAP] = &flow_act_encap,
	[FLOW_ACTION_TUNNEL_DECAP] = &flow_act_decap,
	[FLOW_ACTION_MANGLE] = &flow_act_mangle,
	[FLOW_ACTION_ADD] = &flow_act_mangle,
	[FLOW_ACTION_CSUM] = &flow_act_csum,
	[FLOW_ACTION_POLICE] = &flow_act_police,
	[FLOW_ACTION_CT] = &flow_act_ct,
};

static const char *const flow_refused_names[NUM_FLOW_ACTIONS] = {
	[FLOW_ACTION_REDIRECT_INGRESS] = "redirect to ingress",
	[FLOW_ACTION_MIRRED_INGRESS] = "mirror to ingress",
	[FLOW_ACTION_MARK] = "skbedit mark",
	[FLOW_ACTION_PTYPE] = "skbedit ptype",
	[FLOW_ACTION_PRIORITY] = "skbedit priority",
	[FLOW_ACTION_RX_QUEUE_MAPPING] = "skbedit queue_mapping",
	[FLOW_ACTION_SAMPLE] = "sample",
	[FLOW_ACTION_MPLS_PUSH] = "mpls push",
	[FLOW_ACTION_MPLS_POP] = "mpls pop",
	[FLOW_ACTION_MPLS_MANGLE] = "mpls modify",
	[FLOW_ACTION_GATE] = "gate",
	[FLOW_ACTION_JUMP] = "jump",
	[FLOW_ACTION_PIPE] = "pipe",
	[FLOW_ACTION_VLAN_PUSH_ETH] = "vlan push_eth",
	[FLOW_ACTION_VLAN_POP_ETH] = "vlan pop_eth",
	[FLOW_ACTION_CONTINUE] = "continue",
};

static int flow_action_refuse(enum flow_action_id id,
			      struct netlink_ext_ack *extack)
{
	const char *name = id < NUM_FLOW_ACTIONS ? flow_refused_names[id] : NULL;

	NL_SET_ERR_MSG_FMT_MOD(extack, "Action %s is not supported",
			       name ?: "of an unknown kind");
	return -EOPNOTSUPP;
}

static bool flow_step_forwards(const struct flow_step *step)
{
	return step->ops == &flow_act_redirect || step->ops == &flow_act_mirror;
}

static bool flow_step_decides(const struct flow_step *step)
{
	if (step->ops == &flow_act_police)
		return step->police.conform.verdict == FLOW_ACCEPT;
	return step->last || flow_step_forwards(step);
}

static int flow_action_parse_one(struct flow_act_ctx *ctx,
				 struct flow_filter *f,
				 const struct flow_action_entry *entry)
{
	struct flow_step *step = &f->steps[f->num_steps];
	int err;

	if (entry->id >= NUM_FLOW_ACTIONS || !flow_acts[entry->id])
		return flow_action_refuse(entry->id, ctx->extack);
	if (f->num_steps && step[-1].last) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "An action behind one that ends the filter is never reached");
		return -EOPNOTSUPP;
	}
	step->ops = flow_acts[entry->id];
	step->id = entry->id;
	step->action = entry->cookie;
	err = step->ops->parse(ctx, step, entry);
	if (err)
		return err;
	f->num_steps++;
	return 0;
}

/*
 * A list must say where the packet goes. One that ends with a mirror is done
 * there, as on mlx5; software would hand the packet on to the host as well.
 */
static int flow_actions_decide(const struct flow_filter *f,
			       struct netlink_ext_ack *extack)
{
	unsigned int i;

	for (i = 0; i < f->num_steps; i++)
		if (flow_step_decides(&f->steps[i]))
			return 0;
	NL_SET_ERR_MSG_MOD(extack,
			   "Rule must have at least one forward/drop action");
	return -EOPNOTSUPP;
}

/*
 * tc counts actions from the start of the list, and one pedit action is many
 * steps; steps of one action share its cookie.
 */
static int flow_branch_resolve(const struct flow_filter *f,
			       struct flow_branch *branch, unsigned int from,
			       struct netlink_ext_ack *extack)
{
	unsigned int i, actions = 0;

	if (branch->verdict != FLOW_JUMP)
		return 0;
	for (i = 0; i < f->num_steps; i++) {
		if (i && f->steps[i].action != f->steps[i - 1].action)
			actions++;
		if (actions == branch->jump)
			break;
	}
	if (i == f->num_steps || i <= from) {
		NL_SET_ERR_MSG_MOD(extack,
				   "A police jump must lead to a later action of the filter");
		return -EOPNOTSUPP;
	}
	branch->step = i;
	return 0;
}

static int flow_jumps_resolve(struct flow_filter *f,
			      struct netlink_ext_ack *extack)
{
	struct flow_police *police;
	unsigned int i;
	int err;

	for (i = 0; i < f->num_steps; i++) {
		if (f->steps[i].ops != &flow_act_police)
			continue;
		police = &f->steps[i].police;
		err = flow_branch_resolve(f, &police->exceed, i, extack) ?:
		      flow_branch_resolve(f, &police->conform, i, extack);
		if (err)
			return err;
	}
	return 0;
}

int flow_actions_parse(struct flow_act_ctx *ctx, struct flow_filter *f,
		       const struct flow_action *action)
{
	const struct flow_action_entry *entry;
	int i, err = 0;

	flow_action_for_each(i, entry, action) {
		err = flow_action_parse_one(ctx, f, entry);
		if (err)
			goto release;
	}
	err = flow_actions_decide(f, ctx->extack) ?:
	      flow_jumps_resolve(f, ctx->extack);
	if (!err)
		return 0;
release:
	flow_actions_release(ctx->flow, f);
	return err;
}

void flow_actions_release(struct nicsim_flow *flow, struct flow_filter *f)
{
	unsigned int i;

	for (i = 0; i < f->num_steps; i++)
		if (f->steps[i].ops->release)
			f->steps[i].ops->release(flow, &f->steps[i]);
}

/*
 * A filter whose tunnel's next hop is not known yet is not in the card: the
 * packet takes the slow path whole, before any step has sent a copy.
 */
static bool flow_encaps_ready(struct flow_pkt *pkt, const struct flow_filter *f)
{
	const struct flow_target *target;
	unsigned int i;

	for (i = 0; i < f->num_steps; i++) {
		target = &f->steps[i].target;
		if (flow_step_forwards(&f->steps[i]) &&
		    target->kind == FLOW_TARGET_TUNNEL &&
		    !flow_tunnel_ready(pkt->flow, &target->tunnel,
				       target->encap))
			return false;
	}
	return true;
}

/* Jumps only lead forward, so this ends. */
enum flow_verdict flow_actions_run(struct flow_pkt *pkt, struct flow_filter *f)
{
	enum flow_verdict verdict;
	unsigned int i = 0;

	if (!flow_encaps_ready(pkt, f))
		return FLOW_SLOW;
	while (i < f->num_steps) {
		verdict = f->steps[i].ops->exec(pkt, &f->steps[i]);
		if (verdict == FLOW_JUMP)
			i = pkt->jump;
		else if (verdict == FLOW_NEXT)
			i++;
		else
			return verdict;
	}
	return FLOW_DONE;
}
