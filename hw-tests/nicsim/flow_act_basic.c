// SPDX-License-Identifier: GPL-2.0
/* Actions that only decide: pass, trap, drop, goto chain. */
#include "flow_exec.h"

static int flow_last_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			   const struct flow_action_entry *entry)
{
	step->last = true;
	return 0;
}

/*
 * pass and trap: to the representor, without a chain to resume in, so that
 * software starts again in chain 0. Header edits before it have happened, as
 * on mlx5.
 */
static enum flow_verdict flow_accept_exec(struct flow_pkt *pkt,
					  const struct flow_step *step)
{
	return FLOW_ACCEPT;
}

const struct flow_act_ops flow_act_accept = {
	.name = "pass",
	.parse = flow_last_parse,
	.exec = flow_accept_exec,
};

const struct flow_act_ops flow_act_trap = {
	.name = "trap",
	.parse = flow_last_parse,
	.exec = flow_accept_exec,
};

static enum flow_verdict flow_drop_exec(struct flow_pkt *pkt,
					const struct flow_step *step)
{
	return FLOW_DONE;
}

const struct flow_act_ops flow_act_drop = {
	.name = "drop",
	.parse = flow_last_parse,
	.exec = flow_drop_exec,
};

static int flow_goto_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			   const struct flow_action_entry *entry)
{
	step->chain = entry->chain_index;
	step->last = true;
	return 0;
}

static enum flow_verdict flow_goto_exec(struct flow_pkt *pkt,
					const struct flow_step *step)
{
	pkt->chain = step->chain;
	return FLOW_GOTO;
}

const struct flow_act_ops flow_act_goto = {
	.name = "goto",
	.parse = flow_goto_parse,
	.exec = flow_goto_exec,
};
