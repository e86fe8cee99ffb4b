// SPDX-License-Identifier: GPL-2.0
/* A flower filter's life in the card: replace, destroy, stats. */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "flow_exec.h"

const struct rhashtable_params flow_filter_params = {
	.head_offset = offsetof(struct flow_filter, by_id),
	.key_offset = offsetof(struct flow_filter, id),
	.key_len = sizeof(struct flow_filter_id),
	.automatic_shrinking = true,
};

void flow_counter_add(struct flow_counter *c, unsigned int bytes)
{
	atomic64_inc(&c->pkts);
	atomic64_add(bytes, &c->bytes);
	WRITE_ONCE(c->lastused, jiffies);
}

/* tc adds up what it is told, so it is told what is new. */
void flow_counter_tell(struct flow_counter *c, struct flow_stats *stats,
		       enum flow_action_hw_stats kind)
{
	u64 pkts = atomic64_read(&c->pkts);
	u64 bytes = atomic64_read(&c->bytes);
	u64 drops = atomic64_read(&c->drops);

	flow_stats_update(stats, bytes - c->told_bytes, pkts - c->told_pkts,
			  drops - c->told_drops, READ_ONCE(c->lastused), kind);
	c->told_pkts = pkts;
	c->told_bytes = bytes;
	c->told_drops = drops;
}

static struct flow_filter *flow_filter_find(struct flow_attach *at,
					    unsigned long cookie)
{
	struct flow_filter_id id = { .at = at, .cookie = cookie };

	lockdep_assert_held(&at->flow->lock);
	return rhashtable_lookup_fast(&at->flow->filters, &id,
				      flow_filter_params);
}

static struct flow_filter *flow_filter_new(struct flow_attach *at,
					   struct flow_cls_offload *cls)
{
	unsigned int n = cls->rule->action.num_entries;
	struct flow_filter *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	f->steps = kcalloc(max(n, 1U), sizeof(*f->steps), GFP_KERNEL);
	if (!f->steps) {
		kfree(f);
		return NULL;
	}
	f->id.at = at;
	f->id.cookie = cls->cookie;
	f->chain = cls->common.chain_index;
	f->prio = cls->common.prio;
	f->protocol = cls->common.protocol;
	f->counter.lastused = jiffies;
	return f;
}

static void flow_filter_free(struct flow_filter *f)
{
	kfree(f->steps);
	kfree(f);
}

static void flow_filter_free_work(struct work_struct *work)
{
	flow_filter_free(container_of(to_rcu_work(work), struct flow_filter,
				      rwork));
}

/* ---- Replace ---- */

static int flow_filter_allowed(struct flow_attach *at,
			       struct netlink_ext_ack *extack)
{
	struct nicsim *nic = at->flow->nic;

	if (!nicsim_is_switchdev(nic)) {
		NL_SET_ERR_MSG_MOD(extack,
				   "Filters are offloaded only in switchdev mode");
		return -EOPNOTSUPP;
	}
	/* A tunnel device has no say of its own; the uplink's holds for it. */
	if (at->tunnel.kind == FLOW_TUNNEL_NONE &&
	    !tc_can_offload_extack(at->dev, extack))
		return -EOPNOTSUPP;
	return nicsim_fw_check(nic, extack);
}

static int flow_filter_room(struct nicsim_flow *flow,
			    struct netlink_ext_ack *extack)
{
	u32 capacity = READ_ONCE(flow->nic->knobs.capacity);

	if (capacity && flow->count >= capacity) {
		NL_SET_ERR_MSG_FMT_MOD(extack,
				       "Flow table is full: it holds %u filters",
				       capacity);
		return -ENOSPC;
	}
	if (nicsim_insert_fault(flow->nic)) {
		NL_SET_ERR_MSG_MOD(extack,
				   "Firmware failed to insert the filter");
		return -EIO;
	}
	return 0;
}

static int flow_filter_hw_stats(struct flow_filter *f,
				const struct flow_action *action,
				struct netlink_ext_ack *extack)
{
	enum flow_action_hw_stats asked = FLOW_ACTION_HW_STATS_ANY;

	if (!flow_action_mixed_hw_stats_check(action, extack))
		return -EOPNOTSUPP;
	if (flow_action_has_entries(action))
		asked = action->entries[0].hw_stats;
	if (asked & FLOW_ACTION_HW_STATS_DELAYED)
		f->hw_stats = FLOW_ACTION_HW_STATS_DELAYED;
	else if (asked & FLOW_ACTION_HW_STATS_IMMEDIATE)
		f->hw_stats = FLOW_ACTION_HW_STATS_IMMEDIATE;
	else
		f->hw_stats = FLOW_ACTION_HW_STATS_DISABLED;
	return 0;
}

/* Translate the rule into f and mask; on error f holds no resources. */
static int flow_filter_translate(struct flow_attach *at,
				 struct flow_cls_offload *cls,
				 struct flow_filter *f, struct flow_key *mask)
{
	struct flow_act_ctx ctx = {
		.flow = at->flow,
		.at = at,
		.extack = cls->common.extack,
	};
	int err;

	err = flow_match_parse(cls->rule, &f->key, mask, ctx.extack);
	if (err)
		return err;
	err = flow_filter_hw_stats(f, &cls->rule->action, ctx.extack);
	if (err)
		return err;
	err = flow_profile_check(at, cls, &f->key, mask);
	if (err)
		return err;
	return flow_actions_parse(&ctx, f, &cls->rule->action);
}

/* Room, id, table: each taken back if the next fails. */
static int flow_filter_place(struct flow_attach *at, struct flow_filter *f,
			     const struct flow_key *mask,
			     struct netlink_ext_ack *extack)
{
	struct nicsim_flow *flow = at->flow;
	int err;

	err = flow_filter_room(flow, extack);
	if (err)
		return err;
	err = flow_profile_reserve(flow, f, extack);
	if (err)
		return err;
	err = rhashtable_insert_fast(&flow->filters, &f->by_id,
				     flow_filter_params);
	if (err)
		goto release;
	err = flow_table_insert(at, f, mask);
	if (err)
		goto remove;
	list_add_tail(&f->in_attach, &at->filters);
	at->count++;
	WRITE_ONCE(flow->count, flow->count + 1);
	return 0;

remove:
	rhashtable_remove_fast(&flow->filters, &f->by_id, flow_filter_params);
release:
	flow_profile_release(flow, f);
	return err;
}

static void flow_insert_latency(const struct nicsim *nic)
{
	u32 us = READ_ONCE(nic->knobs.insert_latency_us);

	if (us)
		usleep_range(us, us + us / 8 + 1);
}

static int flow_filter_insert(struct flow_attach *at,
			      struct flow_cls_offload *cls)
{
	struct netlink_ext_ack *extack = cls->common.extack;
	struct flow_filter *f;
	struct flow_key *mask;
	int err = -ENOMEM;

	f = flow_filter_new(at, cls);
	if (!f)
		return -ENOMEM;
	mask = kzalloc(sizeof(*mask), GFP_KERNEL);
	if (!mask)
		goto free_filter;
	err = flow_filter_translate(at, cls, f, mask);
	if (err)
		goto free_mask;
	err = flow_filter_place(at, f, mask, extack);
	if (err)
		goto release_actions;
	kfree(mask);
	return 0;

release_actions:
	flow_actions_release(at->flow, f);
free_mask:
	kfree(mask);
free_filter:
	flow_filter_free(f);
	return err;
}

static int flow_filter_replace(struct flow_attach *at,
			       struct flow_cls_offload *cls)
{
	struct netlink_ext_ack *extack = cls->common.extack;
	int err;

	err = flow_filter_allowed(at, extack);
	if (err)
		return err;
	if (flow_filter_find(at, cls->cookie)) {
		NL_SET_ERR_MSG_MOD(extack, "Flow cookie already exists");
		return -EEXIST;
	}
	flow_insert_latency(at->flow->nic);
	return flow_filter_insert(at, cls);
}

/* ---- Destroy ---- */

/*
 * Out of the tables now, so that no new packet finds it; what its steps hold
 * of others goes now too (a conntrack table must be let go of before tc frees
 * it), the memory after a grace period.
 */
void flow_filter_remove(struct flow_filter *f)
{
	struct flow_attach *at = f->id.at;
	struct nicsim_flow *flow = at->flow;

	lockdep_assert_held(&flow->lock);
	list_del(&f->in_attach);
	at->count--;
	WRITE_ONCE(flow->count, flow->count - 1);
	flow_table_remove(f);
	rhashtable_remove_fast(&flow->filters, &f->by_id, flow_filter_params);
	flow_profile_release(flow, f);
	flow_actions_release(flow, f);
	INIT_RCU_WORK(&f->rwork, flow_filter_free_work);
	queue_rcu_work(flow->wq, &f->rwork);
}

void flow_filters_flush(struct flow_attach *at)
{
	struct flow_filter *f, *next;

	list_for_each_entry_safe(f, next, &at->filters, in_attach)
		flow_filter_remove(f);
}

bool flow_filter_ends_at(const struct flow_filter *f,
			 const struct nicsim_vport *vport)
{
	unsigned int i;

	for (i = 0; i < f->num_steps; i++)
		if ((f->steps[i].ops == &flow_act_redirect ||
		     f->steps[i].ops == &flow_act_mirror) &&
		    f->steps[i].target.vport == vport)
			return true;
	return false;
}

/* Gone already is fine: a flush or a vanished port took it before tc did. */
static int flow_filter_destroy(struct flow_attach *at, unsigned long cookie)
{
	struct flow_filter *f = flow_filter_find(at, cookie);

	if (!f)
		return -ENOENT;
	flow_filter_remove(f);
	return 0;
}

static int flow_filter_stats(struct flow_attach *at,
			     struct flow_cls_offload *cls)
{
	struct flow_filter *f = flow_filter_find(at, cls->cookie);

	if (!f)
		return -ENOENT;
	if (f->hw_stats != FLOW_ACTION_HW_STATS_DISABLED)
		flow_counter_tell(&f->counter, &cls->stats, f->hw_stats);
	return 0;
}

static int flow_filter_command(struct flow_attach *at,
			       struct flow_cls_offload *cls)
{
	switch (cls->command) {
	case FLOW_CLS_REPLACE:
		return flow_filter_replace(at, cls);
	case FLOW_CLS_DESTROY:
		return flow_filter_destroy(at, cls->cookie);
	case FLOW_CLS_STATS:
		return flow_filter_stats(at, cls);
	case FLOW_CLS_TMPLT_CREATE:
	case FLOW_CLS_TMPLT_DESTROY:
		NL_SET_ERR_MSG_MOD(cls->common.extack,
				   "Chain templates are not offloaded");
		return -EOPNOTSUPP;
	}
	return -EOPNOTSUPP;
}

int flow_filter_setup(struct flow_attach *at, struct flow_cls_offload *cls)
{
	int err;

	mutex_lock(&at->flow->lock);
	err = flow_filter_command(at, cls);
	mutex_unlock(&at->flow->lock);
	return err;
}
