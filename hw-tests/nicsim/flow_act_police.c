// SPDX-License-Identifier: GPL-2.0
/*
 * police: token buckets in bytes and in packets, and a length limit. Filters
 * that name the same police action share its bucket. Lengths are those of
 * act_police: without the Ethernet header.
 */
#include <linux/ktime.h>
#include <linux/slab.h>

#include "flow_exec.h"

struct flow_bucket {
	u64 rate;			/* a second; 0: no limit */
	u64 burst;
	u64 tokens;
	u64 filled_ns;
};

struct flow_meter {
	struct list_head node;		/* nicsim_flow.meters */
	unsigned int refs;		/* nicsim_flow.lock */
	u32 index;			/* of the police action */
	u32 mtu;			/* 0: no limit */
	spinlock_t lock;		/* the buckets */
	struct flow_bucket bytes, pkts;
	struct rcu_head rcu;
};

/* ---- Buckets ---- */

static void flow_bucket_set(struct flow_bucket *b, u64 rate, u64 burst)
{
	if (b->rate == rate && b->burst == burst)
		return;
	b->rate = rate;
	b->burst = burst;
	b->tokens = burst;
	b->filled_ns = ktime_get_ns();
}

/* Whole tokens only; the time that made none of them counts next time. */
static void flow_bucket_fill(struct flow_bucket *b, u64 now)
{
	u64 gap = min_t(u64, now - b->filled_ns, NSEC_PER_SEC);
	u64 tokens = mul_u64_u64_div_u64(gap, b->rate, NSEC_PER_SEC);

	if (!tokens)
		return;
	b->tokens = min(b->burst, b->tokens + tokens);
	b->filled_ns = now;
}

static bool flow_bucket_has(struct flow_bucket *b, u64 n, u64 now)
{
	if (!b->rate)
		return true;
	flow_bucket_fill(b, now);
	return b->tokens >= n;
}

static void flow_bucket_take(struct flow_bucket *b, u64 n)
{
	if (b->rate)
		b->tokens -= n;
}

static bool flow_meter_conforms(struct flow_meter *m, unsigned int len)
{
	u64 now = ktime_get_ns();
	bool conforms;

	if (m->mtu && len > m->mtu)
		return false;
	spin_lock(&m->lock);
	conforms = flow_bucket_has(&m->bytes, len, now) &&
		   flow_bucket_has(&m->pkts, 1, now);
	if (conforms) {
		flow_bucket_take(&m->bytes, len);
		flow_bucket_take(&m->pkts, 1);
	}
	spin_unlock(&m->lock);
	return conforms;
}

/* ---- Meters ---- */

static struct flow_meter *flow_meter_find(struct nicsim_flow *flow, u32 index)
{
	struct flow_meter *m;

	list_for_each_entry(m, &flow->meters, node)
		if (m->index == index)
			return m;
	return NULL;
}

static struct flow_meter *flow_meter_new(struct nicsim_flow *flow, u32 index)
{
	struct flow_meter *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->index = index;
	spin_lock_init(&m->lock);
	list_add(&m->node, &flow->meters);
	return m;
}

static struct flow_meter *flow_meter_get(struct nicsim_flow *flow,
					 const struct flow_action_entry *entry)
{
	struct flow_meter *m = flow_meter_find(flow, entry->hw_index) ?:
			       flow_meter_new(flow, entry->hw_index);

	if (!m)
		return NULL;
	m->refs++;
	spin_lock_bh(&m->lock);
	m->mtu = entry->police.mtu;
	flow_bucket_set(&m->bytes, entry->police.rate_bytes_ps,
			entry->police.burst);
	flow_bucket_set(&m->pkts, entry->police.rate_pkt_ps,
			entry->police.burst_pkt);
	spin_unlock_bh(&m->lock);
	return m;
}

static void flow_meter_put(struct flow_meter *m)
{
	if (--m->refs)
		return;
	list_del(&m->node);
	kfree_rcu(m, rcu);
}

/* ---- The action ---- */

static int flow_branch_parse(struct flow_branch *branch,
			     enum flow_action_id id, u32 extval,
			     struct netlink_ext_ack *extack)
{
	switch (id) {
	case FLOW_ACTION_DROP:
		branch->verdict = FLOW_DONE;
		return 0;
	case FLOW_ACTION_PIPE:
		branch->verdict = FLOW_NEXT;
		return 0;
	case FLOW_ACTION_ACCEPT:
		branch->verdict = FLOW_ACCEPT;
		return 0;
	case FLOW_ACTION_JUMP:
		branch->verdict = FLOW_JUMP;
		branch->jump = extval;
		return 0;
	default:
		NL_SET_ERR_MSG_MOD(extack,
				   "Offload not supported when conform-exceed action is not pipe, ok, jump or drop");
		return -EOPNOTSUPP;
	}
}

static int flow_police_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			     const struct flow_action_entry *entry)
{
	struct flow_police *police = &step->police;
	int err;

	if (entry->police.peakrate_bytes_ps || entry->police.avrate ||
	    entry->police.overhead) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "Offload not supported when peakrate/avrate/overhead is configured");
		return -EOPNOTSUPP;
	}
	err = flow_branch_parse(&police->exceed, entry->police.exceed.act_id,
				entry->police.exceed.extval, ctx->extack) ?:
	      flow_branch_parse(&police->conform,
				entry->police.notexceed.act_id,
				entry->police.notexceed.extval, ctx->extack);
	if (err)
		return err;
	police->meter = flow_meter_get(ctx->flow, entry);
	return police->meter ? 0 : -ENOMEM;
}

static enum flow_verdict flow_police_exec(struct flow_pkt *pkt,
					  const struct flow_step *step)
{
	const struct flow_police *police = &step->police;
	const struct flow_branch *branch = &police->conform;

	if (!flow_meter_conforms(police->meter, pkt->skb->len - ETH_HLEN)) {
		branch = &police->exceed;
		if (branch->verdict == FLOW_DONE)
			atomic64_inc(&pkt->filter->counter.drops);
	}
	pkt->jump = branch->step;
	return branch->verdict;
}

static void flow_police_release(struct nicsim_flow *flow,
				struct flow_step *step)
{
	flow_meter_put(step->police.meter);
}

const struct flow_act_ops flow_act_police = {
	.name = "police",
	.parse = flow_police_parse,
	.exec = flow_police_exec,
	.release = flow_police_release,
};
