// SPDX-License-Identifier: GPL-2.0
/* The data plane's entry points, as nicsim.h promises them. */
#include <linux/slab.h>

#include "flow_exec.h"

struct flow_attach __rcu **flow_port_slot(struct nicsim_vport *vport)
{
	unsigned int i = nicsim_is_uplink(vport) ? NICSIM_MAX_VFS : vport->num;

	return &nicsim_flow(vport->nic)->ports[i];
}

int nicsim_flow_init(struct nicsim *nic)
{
	struct nicsim_flow *flow = kzalloc(sizeof(*flow), GFP_KERNEL);
	int err = -ENOMEM;

	if (!flow)
		return err;
	flow->nic = nic;
	flow->ignore_flow_level = true;
	mutex_init(&flow->lock);
	INIT_LIST_HEAD(&flow->attaches);
	INIT_LIST_HEAD(&flow->block_cbs);
	INIT_LIST_HEAD(&flow->meters);
	INIT_LIST_HEAD(&flow->ct_zones);
	INIT_LIST_HEAD(&flow->pool_tables);
	flow_parse_init();

	flow->wq = alloc_workqueue("nicsim_flow", 0, 0);
	if (!flow->wq)
		goto free_flow;
	err = rhashtable_init(&flow->filters, &flow_filter_params);
	if (err)
		goto free_wq;
	nic->flow = flow;
	err = flow_indr_dev_register(flow_indr_setup, flow);
	if (err)
		goto free_filters;
	flow_debugfs_init(flow);
	return 0;

free_filters:
	nic->flow = NULL;
	rhashtable_destroy(&flow->filters);
free_wq:
	destroy_workqueue(flow->wq);
free_flow:
	kfree(flow);
	return err;
}

/*
 * Every port's netdev is gone, and with it its block. Tunnel devices may still
 * be there: unregistering gives their blocks back. What was unlinked is freed
 * by work that a grace period queues, hence the barrier before the flush.
 */
void nicsim_flow_exit(struct nicsim *nic)
{
	struct nicsim_flow *flow = nicsim_flow(nic);

	if (!flow)
		return;
	flow_debugfs_exit(flow);
	flow_indr_dev_unregister(flow_indr_setup, flow, flow_attach_release);
	rcu_barrier();
	destroy_workqueue(flow->wq);
	rhashtable_destroy(&flow->filters);
	mutex_destroy(&flow->lock);
	nic->flow = NULL;
	kfree(flow);
}

int nicsim_flow_setup_tc(struct nicsim_vport *vport, enum tc_setup_type type,
			 void *data)
{
	if (type != TC_SETUP_BLOCK)
		return -EOPNOTSUPP;
	return flow_block_setup(vport, data);
}

unsigned int nicsim_flow_count(struct nicsim_vport *vport)
{
	struct nicsim_flow *flow = nicsim_flow(vport->nic);
	struct flow_attach *at;
	unsigned int count = 0;

	mutex_lock(&flow->lock);
	list_for_each_entry(at, &flow->attaches, node)
		if (at->vport == vport)
			count += at->count;
	mutex_unlock(&flow->lock);
	return count;
}

void nicsim_flow_vport_gone(struct nicsim_vport *vport)
{
	struct nicsim_flow *flow = nicsim_flow(vport->nic);
	struct flow_filter *f, *next;
	struct flow_attach *at;

	mutex_lock(&flow->lock);
	list_for_each_entry(at, &flow->attaches, node)
		list_for_each_entry_safe(f, next, &at->filters, in_attach)
			if (at->vport == vport ||
			    flow_filter_ends_at(f, vport))
				flow_filter_remove(f);
	mutex_unlock(&flow->lock);
}

void nicsim_flow_flush(struct nicsim *nic)
{
	struct nicsim_flow *flow = nicsim_flow(nic);
	struct flow_attach *at;

	mutex_lock(&flow->lock);
	list_for_each_entry(at, &flow->attaches, node)
		flow_filters_flush(at);
	mutex_unlock(&flow->lock);
}

bool nicsim_flow_rx(struct nicsim_vport *vport, struct sk_buff *skb)
{
	struct nicsim_flow *flow = nicsim_flow(vport->nic);
	bool consumed;

	if (!flow || !READ_ONCE(flow->count))
		return false;
	rcu_read_lock();
	consumed = flow_exec(flow, vport, skb);
	rcu_read_unlock();
	return consumed;
}
