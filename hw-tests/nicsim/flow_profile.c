// SPDX-License-Identifier: GPL-2.0
/*
 * Refusals like a real card's. A profile is a list of rules; each looks at the
 * filter as tc sent it and says NULL, or the sentence with which that driver
 * refuses. `any` has no rules: it takes what the data plane can execute.
 *
 * The sentences are those of mlx5 (en_tc.c, en/tc/act, en/tc_ct.c, en/tc_tun.c)
 * and ice (ice_tc_lib.c) in Linux 6.12, so that what reads them is tested with
 * what it will meet.
 */
#include <linux/slab.h>
#include <net/tc_act/tc_ct.h>
#include <uapi/linux/tc_act/tc_csum.h>
#include <uapi/linux/tc_act/tc_ct.h>

#include "flow_exec.h"

struct flow_asked {
	struct nicsim_flow *flow;
	struct flow_attach *at;
	u32 chain, prio;
	u64 keys;			/* bits of flow_dissector_key_id */
	const struct flow_key *key, *mask;
	const struct flow_action *action;
};

typedef const char *flow_refusal(const struct flow_asked *a);

static bool flow_asked_key(const struct flow_asked *a,
			   enum flow_dissector_key_id id)
{
	return a->keys & BIT_ULL(id);
}

static unsigned int flow_asked_count(const struct flow_asked *a,
				     enum flow_action_id id)
{
	const struct flow_action_entry *act;
	unsigned int n = 0;
	int i;

	flow_action_for_each(i, act, a->action)
		n += act->id == id;
	return n;
}

static bool flow_asked_pedit(const struct flow_asked *a)
{
	return flow_asked_count(a, FLOW_ACTION_MANGLE) ||
	       flow_asked_count(a, FLOW_ACTION_ADD);
}

static bool flow_asked_forward(const struct flow_asked *a)
{
	return flow_asked_count(a, FLOW_ACTION_REDIRECT) ||
	       flow_asked_count(a, FLOW_ACTION_MIRRED) ||
	       flow_asked_count(a, FLOW_ACTION_ACCEPT) ||
	       flow_asked_count(a, FLOW_ACTION_GOTO);
}

/* ---- mlx5: the match ---- */

#define K(ID)	BIT_ULL(FLOW_DISSECTOR_KEY_##ID)

#define FLOW_MLX5_KEYS							\
	(K(META) | K(CONTROL) | K(BASIC) | K(ETH_ADDRS) | K(VLAN) |	\
	 K(CVLAN) | K(IPV4_ADDRS) | K(IPV6_ADDRS) | K(PORTS) |		\
	 K(ENC_KEYID) | K(ENC_IPV4_ADDRS) | K(ENC_IPV6_ADDRS) |		\
	 K(ENC_PORTS) | K(ENC_CONTROL) | K(TCP) | K(IP) | K(CT) |	\
	 K(ENC_IP) | K(ENC_OPTS) | K(ICMP))

static const char *flow_mlx5_keys(const struct flow_asked *a)
{
	return a->keys & ~FLOW_MLX5_KEYS ? "Unsupported key" : NULL;
}

static const char *flow_mlx5_l4(const struct flow_asked *a)
{
	if (!flow_asked_key(a, FLOW_DISSECTOR_KEY_PORTS))
		return NULL;
	if (a->key->basic.ip_proto == IPPROTO_TCP ||
	    a->key->basic.ip_proto == IPPROTO_UDP)
		return NULL;
	return "Only UDP and TCP transports are supported for L4 matching";
}

static const char *flow_mlx5_fragments(const struct flow_asked *a)
{
	if (a->mask->control.flags & FLOW_DIS_FIRST_FRAG)
		return "Match on frag first/later is not supported";
	return NULL;
}

static const char *flow_mlx5_ct_match(const struct flow_asked *a)
{
	u16 on = a->key->ct.ct_state & a->mask->ct.ct_state;

	if (!flow_asked_key(a, FLOW_DISSECTOR_KEY_CT))
		return NULL;
	if (!IS_ENABLED(CONFIG_NET_TC_SKB_EXT))
		return "offload of ct matching isn't available";
	if (on & TCA_FLOWER_KEY_CT_FLAGS_RELATED)
		return "matching on ct_state +rel isn't supported";
	if (on & TCA_FLOWER_KEY_CT_FLAGS_INVALID)
		return "matching on ct_state +inv isn't supported";
	return NULL;
}

static const char *flow_mlx5_tunnel(const struct flow_asked *a)
{
	if (a->at->tunnel.kind != FLOW_TUNNEL_VXLAN &&
	    a->at->tunnel.kind != FLOW_TUNNEL_GENEVE)
		return NULL;
	if (!a->mask->enc_tp.dst)
		return "UDP tunnel decap filter must include enc_dst_port condition";
	if (a->mask->enc_tp.dst != htons(0xffff))
		return "UDP tunnel decap filter must match enc_dst_port fully";
	return NULL;
}

/* ---- mlx5: where it goes ---- */

/* mlx5_chains without ignore_flow_level. */
#define FLOW_MLX5_MAX_CHAIN	3
#define FLOW_MLX5_MAX_PRIO	16

static const char *flow_mlx5_place(const struct flow_asked *a)
{
	if (READ_ONCE(a->flow->ignore_flow_level))
		return NULL;
	if (a->chain > FLOW_MLX5_MAX_CHAIN)
		return "Requested chain is out of supported range";
	if (a->prio > FLOW_MLX5_MAX_PRIO)
		return "Requested priority is out of supported range";
	return NULL;
}

static const char *flow_mlx5_goto(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action) {
		if (act->id != FLOW_ACTION_GOTO)
			continue;
		if (flow_asked_count(a, FLOW_ACTION_TUNNEL_DECAP))
			return "Decap with goto isn't supported";
		if (READ_ONCE(a->flow->ignore_flow_level))
			continue;
		if (act->chain_index <= a->chain)
			return "Goto lower numbered chain isn't supported";
		if (act->chain_index > FLOW_MLX5_MAX_CHAIN)
			return "Requested destination chain is out of supported range";
	}
	return NULL;
}

/* ---- mlx5: the actions ---- */

static const char *flow_mlx5_stats(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action)
		if (!(act->hw_stats & (FLOW_ACTION_HW_STATS_DELAYED)))
			return "Flow action HW stats type is not supported";
	return NULL;
}

static const char *flow_mlx5_trap(const struct flow_asked *a)
{
	if (flow_asked_count(a, FLOW_ACTION_TRAP) &&
	    a->action->num_entries > 1)
		return "action trap is supported as a sole action only";
	return NULL;
}

static const char *flow_mlx5_drop(const struct flow_asked *a)
{
	if (!flow_asked_count(a, FLOW_ACTION_DROP))
		return NULL;
	if (flow_asked_forward(a))
		return "Rule cannot support forward+drop action";
	if (flow_asked_pedit(a))
		return "Drop with modify header action is not supported";
	return NULL;
}

static const char *flow_mlx5_csum(const struct flow_asked *a)
{
	const u32 known = TCA_CSUM_UPDATE_FLAG_IPV4HDR |
			  TCA_CSUM_UPDATE_FLAG_TCP | TCA_CSUM_UPDATE_FLAG_UDP;
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action) {
		if (act->id != FLOW_ACTION_CSUM)
			continue;
		if (!flow_asked_pedit(a))
			return "TC csum action is only offloaded with pedit";
		if (act->csum_flags & ~known)
			return "can't offload TC csum action for some header/s";
	}
	return NULL;
}

static const char *flow_mlx5_vlan(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	if (flow_asked_count(a, FLOW_ACTION_VLAN_PUSH) > 2 ||
	    flow_asked_count(a, FLOW_ACTION_VLAN_POP) > 2)
		return "Total vlans used is greater than supported";
	flow_action_for_each(i, act, a->action) {
		if (act->id != FLOW_ACTION_VLAN_MANGLE)
			continue;
		if (!flow_asked_key(a, FLOW_DISSECTOR_KEY_VLAN))
			return "VLAN rewrite action must have VLAN protocol match";
		if (act->vlan.prio &&
		    act->vlan.prio != a->key->vlan.vlan_priority)
			return "Changing VLAN prio is not supported";
	}
	return NULL;
}

static bool flow_mlx5_edits_ip(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action) {
		if (act->id != FLOW_ACTION_MANGLE && act->id != FLOW_ACTION_ADD)
			continue;
		if (act->mangle.htype == FLOW_ACT_MANGLE_HDR_TYPE_IP4 ||
		    act->mangle.htype == FLOW_ACT_MANGLE_HDR_TYPE_IP6)
			return true;
	}
	return false;
}

static const char *flow_mlx5_rewrite(const struct flow_asked *a)
{
	u8 proto = a->key->basic.ip_proto;

	if (!flow_mlx5_edits_ip(a) || proto == IPPROTO_TCP ||
	    proto == IPPROTO_UDP || proto == IPPROTO_ICMP)
		return NULL;
	return "can't offload re-write of non TCP/UDP";
}

/* All word edits of one offset: set and add may not meet. */
static const char *flow_mlx5_set_and_add(const struct flow_asked *a)
{
	const struct flow_action_entry *x, *y;
	int i, j;

	flow_action_for_each(i, x, a->action) {
		if (x->id != FLOW_ACTION_MANGLE)
			continue;
		flow_action_for_each(j, y, a->action)
			if (y->id == FLOW_ACTION_ADD &&
			    x->mangle.htype == y->mangle.htype &&
			    x->mangle.offset == y->mangle.offset &&
			    ~x->mangle.mask & ~y->mangle.mask)
				return "can't set and add to the same HW field";
	}
	return NULL;
}

static const char *flow_mlx5_same_word(const struct flow_asked *a)
{
	const struct flow_action_entry *x, *y;
	int i, j;

	flow_action_for_each(i, x, a->action) {
		if (x->id != FLOW_ACTION_MANGLE && x->id != FLOW_ACTION_ADD)
			continue;
		flow_action_for_each(j, y, a->action)
			if (j > i && y->id == x->id &&
			    x->mangle.htype == y->mangle.htype &&
			    x->mangle.offset == y->mangle.offset &&
			    ~x->mangle.mask & ~y->mangle.mask)
				return "curr_pmask and new mask same. Acting twice on same location";
	}
	return NULL;
}

static bool flow_is_forward(const struct flow_action_entry *act)
{
	return act->id == FLOW_ACTION_REDIRECT || act->id == FLOW_ACTION_MIRRED;
}

static const char *flow_mlx5_outputs(const struct flow_asked *a)
{
	const struct flow_action_entry *x, *y;
	int i, j;

	flow_action_for_each(i, x, a->action) {
		if (!flow_is_forward(x))
			continue;
		if (x->dev == a->at->dev)
			return nicsim_is_uplink(a->at->vport) ?
			       "devices are both uplink, can't offload forwarding" :
			       "can't forward from a VF to itself";
		flow_action_for_each(j, y, a->action)
			if (j > i && flow_is_forward(y) && y->dev == x->dev &&
			    flow_tunnel_of(x->dev).kind == FLOW_TUNNEL_NONE)
				return "can't duplicate output to same device";
	}
	return NULL;
}

static const char *flow_mlx5_ct_action(const struct flow_asked *a)
{
	if (flow_asked_count(a, FLOW_ACTION_CT) &&
	    !IS_ENABLED(CONFIG_NET_TC_SKB_EXT))
		return "offload of ct action isn't available";
	return NULL;
}

static flow_refusal *const flow_mlx5_rules[] = {
	flow_mlx5_stats,
	flow_mlx5_place,
	flow_mlx5_keys,
	flow_mlx5_tunnel,
	flow_mlx5_fragments,
	flow_mlx5_l4,
	flow_mlx5_ct_match,
	flow_mlx5_trap,
	flow_mlx5_goto,
	flow_mlx5_drop,
	flow_mlx5_vlan,
	flow_mlx5_csum,
	flow_mlx5_set_and_add,
	flow_mlx5_same_word,
	flow_mlx5_rewrite,
	flow_mlx5_outputs,
	flow_mlx5_ct_action,
	NULL,
};

/* ---- ice ---- */

#define FLOW_ICE_KEYS							\
	(K(CONTROL) | K(BASIC) | K(ETH_ADDRS) | K(VLAN) | K(CVLAN) |	\
	 K(IPV4_ADDRS) | K(IPV6_ADDRS) | K(ENC_CONTROL) |		\
	 K(ENC_KEYID) | K(ENC_IPV4_ADDRS) | K(ENC_IPV6_ADDRS) |		\
	 K(ENC_PORTS) | K(ENC_OPTS) | K(IP) | K(ENC_IP) | K(PORTS))

static const char *flow_ice_chain(const struct flow_asked *a)
{
	return a->chain ? "Driver supports only offload of chain 0" : NULL;
}

static const char *flow_ice_keys(const struct flow_asked *a)
{
	return a->keys & ~FLOW_ICE_KEYS ? "Unsupported key used" : NULL;
}

static const char *flow_ice_vlan(const struct flow_asked *a)
{
	u16 id = a->mask->vlan.vlan_id;

	return id && id != VLAN_VID_MASK ? "Bad VLAN mask" : NULL;
}

static const char *flow_ice_control(const struct flow_asked *a)
{
	return a->mask->control.flags ? "Unsupported match on control.flags" :
					NULL;
}

static const char *flow_ice_l4(const struct flow_asked *a)
{
	return flow_mlx5_l4(a) ? "Only UDP and TCP transport are supported" :
				 NULL;
}

static const char *flow_ice_actions(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action)
		if (act->id != FLOW_ACTION_DROP && !flow_is_forward(act))
			return "Unsupported action in switchdev mode";
	return NULL;
}

static const char *flow_ice_devices(const struct flow_asked *a)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, a->action)
		if (flow_is_forward(act) && act->dev &&
		    flow_tunnel_of(act->dev).kind != FLOW_TUNNEL_NONE)
			return "Unsupported netdevice in switchdev mode";
	return NULL;
}

static flow_refusal *const flow_ice_rules[] = {
	flow_ice_chain,
	flow_ice_keys,
	flow_ice_control,
	flow_ice_vlan,
	flow_ice_l4,
	flow_ice_actions,
	flow_ice_devices,
	NULL,
};

static flow_refusal *const flow_any_rules[] = { NULL };

static flow_refusal *const *flow_rules_of(u32 profile)
{
	switch (profile) {
	case NICSIM_PROFILE_MLX5:
		return flow_mlx5_rules;
	case NICSIM_PROFILE_ICE:
		return flow_ice_rules;
	default:
		return flow_any_rules;
	}
}

int flow_profile_check(struct flow_attach *at, struct flow_cls_offload *cls,
		       const struct flow_key *key, const struct flow_key *mask)
{
	const struct flow_asked asked = {
		.flow = at->flow,
		.at = at,
		.chain = cls->common.chain_index,
		.prio = cls->common.prio,
		.keys = cls->rule->match.dissector->used_keys,
		.key = key,
		.mask = mask,
		.action = &cls->rule->action,
	};
	flow_refusal *const *rule;
	const char *sentence;

	for (rule = flow_rules_of(flow_profile(at->flow)); *rule; rule++) {
		sentence = (*rule)(&asked);
		if (sentence) {
			NL_SET_ERR_MSG_FMT_MOD(cls->common.extack, "%s",
					       sentence);
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

/* ---- mlx5: tables are scarce ---- */

/*
 * fs_ft_pool.c: a (chain, prio) pair is a hardware table, the same for all
 * ports; the first ones are large. Two entries of each are the driver's own.
 */
static const struct {
	u32 size;
	unsigned int tables;		/* 0: as many as one likes */
} flow_pools[] = {
	{ 4 << 20, 4 },
	{ 1 << 20, 16 },
	{ 64 << 10, 256 },
	{ 128, 0 },
};

#define FLOW_TABLE_RESERVED	2

struct flow_pool_table {
	struct list_head node;		/* nicsim_flow.pool_tables */
	u32 chain, prio, size;
	unsigned int rules;
};

static u32 flow_pool_next_size(const struct nicsim_flow *flow)
{
	const struct flow_pool_table *t;
	unsigned int i, used;

	for (i = 0; flow_pools[i].tables; i++) {
		used = 0;
		list_for_each_entry(t, &flow->pool_tables, node)
			used += t->size == flow_pools[i].size;
		if (used < flow_pools[i].tables)
			break;
	}
	return flow_pools[i].size;
}

static struct flow_pool_table *flow_pool_table_new(struct nicsim_flow *flow,
						   const struct flow_filter *f)
{
	struct flow_pool_table *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return NULL;
	t->chain = f->chain;
	t->prio = f->prio;
	t->size = flow_pool_next_size(flow);
	list_add(&t->node, &flow->pool_tables);
	return t;
}

static struct flow_pool_table *flow_pool_table_get(struct nicsim_flow *flow,
						   const struct flow_filter *f)
{
	struct flow_pool_table *t;

	list_for_each_entry(t, &flow->pool_tables, node)
		if (t->chain == f->chain && t->prio == f->prio)
			return t;
	return flow_pool_table_new(flow, f);
}

int flow_profile_reserve(struct nicsim_flow *flow, struct flow_filter *f,
			 struct netlink_ext_ack *extack)
{
	struct flow_pool_table *t;

	if (flow_profile(flow) != NICSIM_PROFILE_MLX5)
		return 0;
	t = flow_pool_table_get(flow, f);
	if (!t)
		return -ENOMEM;
	if (t->rules == t->size - FLOW_TABLE_RESERVED) {
		NL_SET_ERR_MSG_FMT_MOD(extack,
				       "The table of chain %u prio %u is full: it holds %u filters",
				       f->chain, f->prio, t->rules);
		return -ENOSPC;
	}
	t->rules++;
	f->pool_table = t;
	return 0;
}

void flow_profile_release(struct nicsim_flow *flow, struct flow_filter *f)
{
	struct flow_pool_table *t = f->pool_table;

	if (!t || --t->rules)
		return;
	list_del(&t->node);
	kfree(t);
}
