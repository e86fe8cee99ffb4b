// SPDX-License-Identifier: GPL-2.0
/*
 * ct: connections that software has tracked and given to hardware through
 * act_ct's flow table, one table a zone.
 *
 * A packet of such a connection gets its state, mark, labels and NAT here. Any
 * other, and a TCP FIN or RST, is a miss that software resumes at the action:
 * hardware never commits. Packets that hit are told to the flow table, so that
 * a connection only hardware sees does not age out.
 */
#include <linux/slab.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_flow_table.h>
#include <net/tc_act/tc_ct.h>
#include <uapi/linux/tc_act/tc_csum.h>
#include <uapi/linux/tc_act/tc_ct.h>

#include "flow_exec.h"

/* IPv6 addresses are four words each, and two ports. */
#define FLOW_CT_REWRITES	10

/* Compared as bytes, so zeroed before it is filled. */
struct flow_ct_tuple {
	union {
		struct flow_dissector_key_ipv4_addrs ipv4;
		struct flow_dissector_key_ipv6_addrs ipv6;
	};
	struct flow_dissector_key_ports ports;
	u16 addr_type;
	u8 ip_proto;
};

struct flow_ct_entry {
	struct rhash_head by_tuple, by_cookie;
	struct flow_ct_tuple tuple;
	unsigned long cookie;		/* the flow table's name for it */
	__be16 tcp_flags_mask;		/* any of these set: a miss */
	struct flow_ct_state state;
	unsigned int num_rewrites;
	struct flow_rewrite rewrites[FLOW_CT_REWRITES];
	struct flow_counter counter;
	struct rcu_head rcu;
};

struct flow_ct_zone {
	struct list_head node;		/* nicsim_flow.ct_zones */
	unsigned int refs;		/* nicsim_flow.lock */
	u16 zone;
	struct nf_flowtable *table;
	struct rhashtable by_tuple, by_cookie;
	struct rcu_work rwork;
};

static const struct rhashtable_params flow_ct_by_tuple = {
	.head_offset = offsetof(struct flow_ct_entry, by_tuple),
	.key_offset = offsetof(struct flow_ct_entry, tuple),
	.key_len = offsetofend(struct flow_ct_tuple, ip_proto),
	.automatic_shrinking = true,
};

static const struct rhashtable_params flow_ct_by_cookie = {
	.head_offset = offsetof(struct flow_ct_entry, by_cookie),
	.key_offset = offsetof(struct flow_ct_entry, cookie),
	.key_len = sizeof_field(struct flow_ct_entry, cookie),
	.automatic_shrinking = true,
};

/* ---- Connections, as the flow table gives them ---- */

static int flow_ct_parse_match(const struct flow_rule *rule,
			       struct flow_ct_entry *e)
{
	struct flow_match_ipv4_addrs ipv4;
	struct flow_match_ipv6_addrs ipv6;
	struct flow_match_control control;
	struct flow_match_basic basic;
	struct flow_match_ports ports;
	struct flow_match_tcp tcp;

	flow_rule_match_control(rule, &control);
	flow_rule_match_basic(rule, &basic);
	e->tuple.addr_type = control.key->addr_type;
	e->tuple.ip_proto = basic.key->ip_proto;
	if (e->tuple.addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS) {
		flow_rule_match_ipv4_addrs(rule, &ipv4);
		e->tuple.ipv4 = *ipv4.key;
	} else if (e->tuple.addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
		flow_rule_match_ipv6_addrs(rule, &ipv6);
		e->tuple.ipv6 = *ipv6.key;
	} else {
		return -EOPNOTSUPP;
	}
	if (flow_rule_match_key(rule, FLOW_DISSECTOR_KEY_PORTS)) {
		flow_rule_match_ports(rule, &ports);
		e->tuple.ports = *ports.key;
	}
	if (flow_rule_match_key(rule, FLOW_DISSECTOR_KEY_TCP)) {
		flow_rule_match_tcp(rule, &tcp);
		e->tcp_flags_mask = tcp.mask->flags;
	}
	return 0;
}

/* act_ct gives values in host order, ports in the low half of the word. */
static int flow_ct_parse_mangle(const struct flow_action_entry *act,
				struct flow_ct_entry *e)
{
	struct flow_rewrite *rw = &e->rewrites[e->num_rewrites];
	__be16 port = cpu_to_be16(act->mangle.val);

	if (e->num_rewrites == FLOW_CT_REWRITES)
		return -EOPNOTSUPP;
	rw->htype = act->mangle.htype;
	rw->offset = act->mangle.offset;
	switch (rw->htype) {
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		rw->len = sizeof(rw->val);
		rw->val = cpu_to_be32(act->mangle.val);
		break;
	case FLOW_ACT_MANGLE_HDR_TYPE_TCP:
	case FLOW_ACT_MANGLE_HDR_TYPE_UDP:
		rw->len = sizeof(port);
		memcpy(&rw->val, &port, sizeof(port));
		break;
	default:
		return -EOPNOTSUPP;
	}
	e->num_rewrites++;
	return 0;
}

static void flow_ct_parse_metadata(const struct flow_action_entry *act,
				   u16 zone, struct flow_ct_entry *e)
{
	unsigned int ctinfo = act->ct_metadata.cookie & NFCT_INFOMASK;
	struct flow_dissector_key_ct *key = &e->state.key;

	e->state.cookie = act->ct_metadata.cookie;
	key->ct_state = TCA_FLOWER_KEY_CT_FLAGS_TRACKED;
	key->ct_state |= ctinfo == IP_CT_NEW ?
			 TCA_FLOWER_KEY_CT_FLAGS_NEW :
			 TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED;
	if (!act->ct_metadata.orig_dir)
		key->ct_state |= TCA_FLOWER_KEY_CT_FLAGS_REPLY;
	key->ct_zone = zone;
	key->ct_mark = act->ct_metadata.mark;
	memcpy(key->ct_labels, act->ct_metadata.labels,
	       sizeof(key->ct_labels));
}

static int flow_ct_parse_actions(const struct flow_rule *rule, u16 zone,
				 struct flow_ct_entry *e)
{
	const struct flow_action_entry *act;
	int i, err;

	flow_action_for_each(i, act, &rule->action) {
		if (act->id == FLOW_ACTION_CT_METADATA) {
			flow_ct_parse_metadata(act, zone, e);
		} else if (act->id == FLOW_ACTION_MANGLE) {
			err = flow_ct_parse_mangle(act, e);
			if (err)
				return err;
		}
	}
	return e->state.cookie ? 0 : -EOPNOTSUPP;
}

static void flow_ct_entry_unlink(struct flow_ct_zone *zone,
				 struct flow_ct_entry *e)
{
	rhashtable_remove_fast(&zone->by_cookie, &e->by_cookie,
			       flow_ct_by_cookie);
	rhashtable_remove_fast(&zone->by_tuple, &e->by_tuple,
			       flow_ct_by_tuple);
	kfree_rcu(e, rcu);
}

static int flow_ct_entry_link(struct flow_ct_zone *zone,
			      struct flow_ct_entry *e)
{
	int err = rhashtable_insert_fast(&zone->by_cookie, &e->by_cookie,
					 flow_ct_by_cookie);

	if (err)
		return err;
	err = rhashtable_insert_fast(&zone->by_tuple, &e->by_tuple,
				     flow_ct_by_tuple);
	if (err)
		rhashtable_remove_fast(&zone->by_cookie, &e->by_cookie,
				       flow_ct_by_cookie);
	return err;
}

static struct flow_ct_entry *flow_ct_entry_find(struct flow_ct_zone *zone,
						unsigned long cookie)
{
	return rhashtable_lookup_fast(&zone->by_cookie, &cookie,
				      flow_ct_by_cookie);
}

/* Once more for the same cookie: a connection whose state has moved on. */
static int flow_ct_replace(struct flow_ct_zone *zone,
			   const struct flow_cls_offload *cls)
{
	struct flow_ct_entry *old, *e = kzalloc(sizeof(*e), GFP_KERNEL);
	int err;

	if (!e)
		return -ENOMEM;
	e->cookie = cls->cookie;
	e->counter.lastused = jiffies;
	err = flow_ct_parse_match(cls->rule, e) ?:
	      flow_ct_parse_actions(cls->rule, zone->zone, e);
	if (err)
		goto free;
	old = flow_ct_entry_find(zone, cls->cookie);
	if (old)
		flow_ct_entry_unlink(zone, old);
	err = flow_ct_entry_link(zone, e);
	if (!err)
		return 0;
free:
	kfree(e);
	return err;
}

static int flow_ct_destroy(struct flow_ct_zone *zone, unsigned long cookie)
{
	struct flow_ct_entry *e = flow_ct_entry_find(zone, cookie);

	if (!e)
		return -ENOENT;
	flow_ct_entry_unlink(zone, e);
	return 0;
}

static int flow_ct_stats(struct flow_ct_zone *zone,
			 struct flow_cls_offload *cls)
{
	struct flow_ct_entry *e = flow_ct_entry_find(zone, cls->cookie);

	if (!e)
		return -ENOENT;
	flow_counter_tell(&e->counter, &cls->stats,
			  FLOW_ACTION_HW_STATS_DELAYED);
	return 0;
}

/*
 * From the flow table's workers, which hold its block lock for reading. No
 * nicsim_flow.lock here: whoever drops a zone holds that one and waits for the
 * block lock. One connection's commands never run at the same time.
 */
static int flow_ct_cb(enum tc_setup_type type, void *type_data, void *cb_priv)
{
	struct flow_cls_offload *cls = type_data;
	struct flow_ct_zone *zone = cb_priv;

	if (type != TC_SETUP_CLSFLOWER)
		return -EOPNOTSUPP;
	switch (cls->command) {
	case FLOW_CLS_REPLACE:
		return flow_ct_replace(zone, cls);
	case FLOW_CLS_DESTROY:
		return flow_ct_destroy(zone, cls->cookie);
	case FLOW_CLS_STATS:
		return flow_ct_stats(zone, cls);
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- Zones ---- */

static struct flow_ct_zone *flow_ct_zone_new(struct nf_flowtable *table,
					     u16 zone)
{
	struct flow_ct_zone *z = kzalloc(sizeof(*z), GFP_KERNEL);

	if (!z)
		return NULL;
	z->zone = zone;
	z->table = table;
	if (rhashtable_init(&z->by_tuple, &flow_ct_by_tuple))
		goto free_zone;
	if (rhashtable_init(&z->by_cookie, &flow_ct_by_cookie))
		goto free_tuples;
	if (nf_flow_table_offload_add_cb(table, flow_ct_cb, z))
		goto free_cookies;
	return z;

free_cookies:
	rhashtable_destroy(&z->by_cookie);
free_tuples:
	rhashtable_destroy(&z->by_tuple);
free_zone:
	kfree(z);
	return NULL;
}

static struct flow_ct_zone *flow_ct_zone_get(struct nicsim_flow *flow,
					     struct nf_flowtable *table,
					     u16 zone)
{
	struct flow_ct_zone *z;

	list_for_each_entry(z, &flow->ct_zones, node) {
		if (z->table == table) {
			z->refs++;
			return z;
		}
	}
	z = flow_ct_zone_new(table, zone);
	if (!z)
		return NULL;
	z->refs = 1;
	list_add(&z->node, &flow->ct_zones);
	return z;
}

static void flow_ct_entry_free(void *entry, void *arg)
{
	kfree(entry);
}

static void flow_ct_zone_free(struct work_struct *work)
{
	struct flow_ct_zone *z = container_of(to_rcu_work(work),
					      struct flow_ct_zone, rwork);

	rhashtable_destroy(&z->by_cookie);
	rhashtable_free_and_destroy(&z->by_tuple, flow_ct_entry_free, NULL);
	kfree(z);
}

/* After del_cb no command can come; packets are waited for. */
static void flow_ct_zone_put(struct nicsim_flow *flow, struct flow_ct_zone *z)
{
	if (--z->refs)
		return;
	list_del(&z->node);
	nf_flow_table_offload_del_cb(z->table, flow_ct_cb, z);
	INIT_RCU_WORK(&z->rwork, flow_ct_zone_free);
	queue_rcu_work(flow->wq, &z->rwork);
}

/* ---- The action ---- */

static int flow_ct_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			 const struct flow_action_entry *entry)
{
	if (entry->ct.action & TCA_CT_ACT_CLEAR)
		return 0;
	step->ct.nat = entry->ct.action & TCA_CT_ACT_NAT;
	step->ct.miss_cookie = entry->miss_cookie;
	step->ct.zone = flow_ct_zone_get(ctx->flow, entry->ct.flow_table,
					 entry->ct.zone);
	return step->ct.zone ? 0 : -ENOMEM;
}

static void flow_ct_release(struct nicsim_flow *flow, struct flow_step *step)
{
	if (step->ct.zone)
		flow_ct_zone_put(flow, step->ct.zone);
}

static struct flow_ct_entry *flow_ct_lookup(struct flow_ct_zone *zone,
					    const struct flow_key *key)
{
	struct flow_ct_tuple tuple = {};
	struct flow_ct_entry *e;

	if (key->control.flags & FLOW_DIS_IS_FRAGMENT)
		return NULL;
	tuple.addr_type = key->control.addr_type;
	tuple.ip_proto = key->basic.ip_proto;
	tuple.ports = key->tp;
	if (tuple.addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS)
		tuple.ipv4 = key->ipv4;
	else
		tuple.ipv6 = key->ipv6;
	e = rhashtable_lookup(&zone->by_tuple, &tuple, flow_ct_by_tuple);
	if (e && key->tcp.flags & e->tcp_flags_mask)
		return NULL;
	return e;
}

static bool flow_ct_nat(struct flow_pkt *pkt, const struct flow_ct_entry *e)
{
	unsigned int i;

	for (i = 0; i < e->num_rewrites; i++)
		if (!flow_rewrite(pkt, &e->rewrites[i]))
			return false;
	if (e->num_rewrites)
		flow_csum_fix(pkt->skb, TCA_CSUM_UPDATE_FLAG_IPV4HDR |
					TCA_CSUM_UPDATE_FLAG_TCP |
					TCA_CSUM_UPDATE_FLAG_UDP);
	return true;
}

static enum flow_verdict flow_ct_track(struct flow_pkt *pkt,
				       const struct flow_step *step)
{
	struct flow_ct_entry *e;

	/* Steps before this one may have changed the tuple. */
	if (!flow_parse(pkt))
		return FLOW_DONE;
	e = flow_ct_lookup(step->ct.zone, &pkt->key);
	if (!e) {
		atomic64_inc(&pkt->flow->ct_misses);
		pkt->miss_cookie = step->ct.miss_cookie;
		return FLOW_CT_MISS;
	}
	atomic64_inc(&pkt->flow->ct_hits);
	flow_counter_add(&e->counter, pkt->skb->len);
	pkt->ct = e->state;
	if (step->ct.nat && !flow_ct_nat(pkt, e))
		return FLOW_DONE;
	return FLOW_NEXT;
}

static enum flow_verdict flow_ct_exec(struct flow_pkt *pkt,
				      const struct flow_step *step)
{
	if (step->ct.zone)
		return flow_ct_track(pkt, step);
	memset(&pkt->ct, 0, sizeof(pkt->ct));
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_ct = {
	.name = "ct",
	.parse = flow_ct_parse,
	.exec = flow_ct_exec,
	.release = flow_ct_release,
};
