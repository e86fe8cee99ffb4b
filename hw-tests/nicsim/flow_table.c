// SPDX-License-Identifier: GPL-2.0
/*
 * Where filters live: a chain holds prios in ascending order, a prio holds
 * masks, a mask holds a hash table of masked keys. Writers hold
 * nicsim_flow.lock; packets read under RCU.
 *
 * Two filters may have the same key for a moment: tc replaces a filter by
 * adding the new one before it removes the old. The newest is found.
 */
#include <linux/jhash.h>
#include <linux/slab.h>

#include "flow.h"

/* ---- Masks ---- */

static bool flow_mask_has_ranges(const struct flow_key *mask)
{
	return memchr_inv(&mask->tp_range, 0, sizeof(mask->tp_range));
}

/* The bytes of the key from the first to the last that the mask looks at. */
static void flow_mask_set_range(struct flow_mask *m)
{
	const u8 *bytes = (const u8 *)&m->mask;
	size_t first = 0, last = sizeof(m->mask);

	while (first < sizeof(m->mask) && !bytes[first])
		first++;
	while (last > first && !bytes[last - 1])
		last--;
	if (first == last)		/* a mask of nothing: match everything */
		first = 0, last = sizeof(long);
	m->start = rounddown(first, sizeof(long));
	m->end = roundup(last, sizeof(long));
}

static struct flow_mask *flow_mask_new(struct flow_prio *prio,
				       const struct flow_key *mask)
{
	struct flow_mask *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->prio = prio;
	m->mask = *mask;
	m->ranges = flow_mask_has_ranges(mask);
	flow_mask_set_range(m);
	INIT_LIST_HEAD(&m->filters);
	m->params = (struct rhashtable_params) {
		.head_offset = offsetof(struct flow_filter, by_key),
		.key_offset = offsetof(struct flow_filter, key) + m->start,
		.key_len = m->end - m->start,
		.automatic_shrinking = true,
	};
	if (rhltable_init(&m->ht, &m->params)) {
		kfree(m);
		return NULL;
	}
	list_add_tail_rcu(&m->node, &prio->masks);
	return m;
}

static struct flow_mask *flow_mask_get(struct flow_prio *prio,
				       const struct flow_key *mask)
{
	struct flow_mask *m;

	list_for_each_entry(m, &prio->masks, node)
		if (!memcmp(&m->mask, mask, sizeof(*mask)))
			return m;
	return flow_mask_new(prio, mask);
}

static void flow_mask_free(struct work_struct *work)
{
	struct flow_mask *m = container_of(to_rcu_work(work), struct flow_mask,
					   rwork);

	rhltable_destroy(&m->ht);
	kfree(m);
}

static void flow_mask_put(struct flow_mask *m)
{
	if (m->count)
		return;
	list_del_rcu(&m->node);
	INIT_RCU_WORK(&m->rwork, flow_mask_free);
	queue_rcu_work(m->prio->chain->at->flow->wq, &m->rwork);
}

/* ---- Prios ---- */

static struct flow_prio *flow_prio_new(struct flow_chain *chain, u32 prio,
				       __be16 protocol,
				       struct list_head *after)
{
	struct flow_prio *p = kzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return NULL;
	p->chain = chain;
	p->prio = prio;
	p->protocol = protocol;
	INIT_LIST_HEAD(&p->masks);
	list_add_rcu(&p->node, after);
	return p;
}

/*
 * Filters are mostly added in ascending order, or, where tc chooses the prio,
 * in descending order: look at both ends before the walk, which starts at the
 * end.
 */
static struct flow_prio *flow_prio_get(struct flow_chain *chain, u32 prio,
				       __be16 protocol)
{
	struct flow_prio *p;

	p = list_first_entry_or_null(&chain->prios, struct flow_prio, node);
	if (!p || prio < p->prio)
		return flow_prio_new(chain, prio, protocol, &chain->prios);
	list_for_each_entry_reverse(p, &chain->prios, node) {
		if (p->prio == prio && p->protocol == protocol)
			return p;
		if (p->prio < prio)
			break;
	}
	return flow_prio_new(chain, prio, protocol, &p->node);
}

static void flow_prio_put(struct flow_prio *p)
{
	if (!list_empty(&p->masks))
		return;
	list_del_rcu(&p->node);
	kfree_rcu(p, rcu);
}

/* ---- Chains ---- */

static struct flow_chain *flow_chain_get(struct flow_attach *at, u32 index)
{
	struct flow_chain *chain = xa_load(&at->chains, index);

	if (chain)
		return chain;
	chain = kzalloc(sizeof(*chain), GFP_KERNEL);
	if (!chain)
		return NULL;
	chain->at = at;
	chain->index = index;
	INIT_LIST_HEAD(&chain->prios);
	if (xa_err(xa_store(&at->chains, index, chain, GFP_KERNEL))) {
		kfree(chain);
		return NULL;
	}
	return chain;
}

static void flow_chain_free(struct work_struct *work)
{
	kfree(container_of(to_rcu_work(work), struct flow_chain, rwork));
}

static void flow_chain_put(struct flow_chain *chain)
{
	if (!list_empty(&chain->prios))
		return;
	xa_erase(&chain->at->chains, chain->index);
	INIT_RCU_WORK(&chain->rwork, flow_chain_free);
	queue_rcu_work(chain->at->flow->wq, &chain->rwork);
}

/* ---- Filters ---- */

/* Innermost first; each stays if something else is still in it. */
static void flow_table_shrink(struct flow_mask *m)
{
	struct flow_prio *p = m->prio;
	struct flow_chain *chain = p->chain;

	flow_mask_put(m);
	flow_prio_put(p);
	flow_chain_put(chain);
}

static struct flow_mask *flow_table_grow(struct flow_attach *at,
					 const struct flow_filter *f,
					 const struct flow_key *mask)
{
	struct flow_chain *chain;
	struct flow_prio *p;
	struct flow_mask *m;

	chain = flow_chain_get(at, f->chain);
	if (!chain)
		return NULL;
	p = flow_prio_get(chain, f->prio, f->protocol);
	if (!p)
		goto put_chain;
	m = flow_mask_get(p, mask);
	if (m)
		return m;
	flow_prio_put(p);
put_chain:
	flow_chain_put(chain);
	return NULL;
}

int flow_table_insert(struct flow_attach *at, struct flow_filter *f,
		      const struct flow_key *mask)
{
	struct flow_mask *m = flow_table_grow(at, f, mask);
	int err;

	if (!m)
		return -ENOMEM;
	f->mask = m;
	err = rhltable_insert(&m->ht, &f->by_key, m->params);
	if (err) {
		flow_table_shrink(m);
		return err;
	}
	list_add_rcu(&f->in_mask, &m->filters);
	m->count++;
	return 0;
}

void flow_table_remove(struct flow_filter *f)
{
	struct flow_mask *m = f->mask;

	list_del_rcu(&f->in_mask);
	rhltable_remove(&m->ht, &f->by_key, m->params);
	m->count--;
	flow_table_shrink(m);
}

/* ---- Lookup ---- */

static void flow_key_mask(struct flow_key *masked, const struct flow_key *key,
			  const struct flow_mask *m)
{
	const long *k = (const void *)key + m->start;
	const long *mask = (const void *)&m->mask + m->start;
	long *out = (void *)masked + m->start;
	unsigned int i;

	for (i = 0; i < (m->end - m->start) / sizeof(long); i++)
		out[i] = k[i] & mask[i];
}

static bool flow_in_range(__be16 port, __be16 min, __be16 max, bool matters)
{
	return !matters ||
	       (ntohs(port) >= ntohs(min) && ntohs(port) <= ntohs(max));
}

static bool flow_ranges_match(const struct flow_filter *f,
			      const struct flow_key *key)
{
	const struct flow_dissector_key_ports_range *mask =
		&f->mask->mask.tp_range;
	const struct flow_dissector_key_ports_range *range = &f->key.tp_range;
	const struct flow_dissector_key_ports *port = &key->tp_range.tp;

	return flow_in_range(port->src, range->tp_min.src, range->tp_max.src,
			     mask->tp_min.src) &&
	       flow_in_range(port->dst, range->tp_min.dst, range->tp_max.dst,
			     mask->tp_min.dst);
}

/*
 * A range is not a masked value: compare filters one by one, with the range's
 * place in the packet's key filled from the filter.
 */
static struct flow_filter *flow_lookup_ranges(struct flow_mask *m,
					      const struct flow_key *key,
					      struct flow_key *masked)
{
	size_t len = m->end - m->start;
	struct flow_filter *f;

	list_for_each_entry_rcu(f, &m->filters, in_mask) {
		if (!flow_ranges_match(f, key))
			continue;
		masked->tp_range = f->key.tp_range;
		if (!memcmp((void *)masked + m->start,
			    (void *)&f->key + m->start, len))
			return f;
	}
	return NULL;
}

static struct flow_filter *flow_lookup_mask(struct flow_mask *m,
					    const struct flow_key *key)
{
	struct rhlist_head *list;
	struct flow_key masked;

	flow_key_mask(&masked, key, m);
	if (m->ranges)
		return flow_lookup_ranges(m, key, &masked);
	list = rhltable_lookup(&m->ht, (void *)&masked + m->start, m->params);
	return list ? container_of(list, struct flow_filter, by_key) : NULL;
}

struct flow_filter *flow_table_lookup(struct flow_attach *at, u32 index,
				      const struct flow_key *key,
				      __be16 protocol)
{
	struct flow_chain *chain = xa_load(&at->chains, index);
	struct flow_filter *f;
	struct flow_prio *p;
	struct flow_mask *m;

	if (!chain)
		return NULL;
	list_for_each_entry_rcu(p, &chain->prios, node) {
		if (p->protocol != protocol && p->protocol != htons(ETH_P_ALL))
			continue;
		list_for_each_entry_rcu(m, &p->masks, node) {
			f = flow_lookup_mask(m, key);
			if (f)
				return f;
		}
	}
	atomic64_inc(&chain->misses);
	return NULL;
}
