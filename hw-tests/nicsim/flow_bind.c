// SPDX-License-Identifier: GPL-2.0
/*
 * Binding tc blocks: the clsact ingress of representors and the uplink, each
 * with a block of its own or a shared one; and of tunnel devices, which are
 * not ours and reach us through flow_indr.
 *
 * A block bound to a tunnel device before the NIC is in switchdev mode stays
 * bound, but its filters of that time are refused and not offered again.
 */
#include <linux/slab.h>

#include "flow.h"

static int flow_attach_cb(enum tc_setup_type type, void *type_data,
			  void *cb_priv)
{
	struct flow_cls_common_offload *common = type_data;

	switch (type) {
	case TC_SETUP_CLSFLOWER:
		return flow_filter_setup(cb_priv, type_data);
	case TC_SETUP_CLSMATCHALL:
		NL_SET_ERR_MSG_MOD(common->extack,
				   "matchall is not offloaded; use flower without keys");
		return -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

static struct flow_attach *flow_attach_new(struct nicsim_vport *vport,
					   struct net_device *dev)
{
	struct flow_attach *at = kzalloc(sizeof(*at), GFP_KERNEL);

	if (!at)
		return NULL;
	at->flow = nicsim_flow(vport->nic);
	at->vport = vport;
	at->dev = dev;
	xa_init(&at->chains);
	INIT_LIST_HEAD(&at->filters);
	return at;
}

static void flow_attach_link(struct flow_attach *at)
{
	struct nicsim_flow *flow = at->flow;

	mutex_lock(&flow->lock);
	list_add_tail_rcu(&at->node, &flow->attaches);
	if (at->tunnel.kind == FLOW_TUNNEL_NONE)
		rcu_assign_pointer(*flow_port_slot(at->vport), at);
	mutex_unlock(&flow->lock);
}

static void flow_attach_free(struct work_struct *work)
{
	struct flow_attach *at = container_of(to_rcu_work(work),
					      struct flow_attach, rwork);

	xa_destroy(&at->chains);
	kfree(at);
}

/*
 * The block has let go of us, after destroying its filters. Those that a flush
 * took out before are not in at->filters any more; none can be left, but a
 * card that is reset does not depend on it.
 */
void flow_attach_release(void *cb_priv)
{
	struct flow_attach *at = cb_priv;
	struct nicsim_flow *flow = at->flow;
	struct flow_attach __rcu **slot = flow_port_slot(at->vport);

	mutex_lock(&flow->lock);
	flow_filters_flush(at);
	list_del_rcu(&at->node);
	if (rcu_access_pointer(*slot) == at)
		RCU_INIT_POINTER(*slot, NULL);
	mutex_unlock(&flow->lock);
	INIT_RCU_WORK(&at->rwork, flow_attach_free);
	queue_rcu_work(flow->wq, &at->rwork);
}

static void flow_block_cb_link(struct nicsim_flow *flow,
			       struct flow_block_cb *cb,
			       struct flow_block_offload *bo)
{
	flow_block_cb_add(cb, bo);
	list_add_tail(&cb->driver_list, &flow->block_cbs);
}

static int flow_block_bind(struct nicsim_vport *vport,
			   struct flow_block_offload *bo)
{
	struct nicsim_flow *flow = nicsim_flow(vport->nic);
	struct flow_block_cb *cb;
	struct flow_attach *at;

	if (flow_block_cb_is_busy(flow_attach_cb, vport, &flow->block_cbs))
		return -EBUSY;
	at = flow_attach_new(vport, rtnl_dereference(vport->rep));
	if (!at)
		return -ENOMEM;
	cb = flow_block_cb_alloc(flow_attach_cb, vport, at,
				 flow_attach_release);
	if (IS_ERR(cb)) {
		kfree(at);
		return PTR_ERR(cb);
	}
	flow_attach_link(at);
	flow_block_cb_link(flow, cb, bo);
	return 0;
}

static int flow_block_unbind(struct nicsim_vport *vport,
			     struct flow_block_offload *bo)
{
	struct flow_block_cb *cb = flow_block_cb_lookup(bo->block,
							flow_attach_cb, vport);

	if (!cb)
		return -ENOENT;
	flow_block_cb_remove(cb, bo);
	list_del(&cb->driver_list);
	return 0;
}

int flow_block_setup(struct nicsim_vport *vport, struct flow_block_offload *bo)
{
	if (bo->binder_type != FLOW_BLOCK_BINDER_TYPE_CLSACT_INGRESS)
		return -EOPNOTSUPP;
	bo->driver_block_list = &nicsim_flow(vport->nic)->block_cbs;
	bo->unlocked_driver_cb = true;
	switch (bo->command) {
	case FLOW_BLOCK_BIND:
		return flow_block_bind(vport, bo);
	case FLOW_BLOCK_UNBIND:
		return flow_block_unbind(vport, bo);
	}
	return -EOPNOTSUPP;
}

/*
 * ---- Tunnel devices ----
 *
 * Their blocks do not set unlocked_driver_cb: when a driver goes away first,
 * tc_block_indr_cleanup() counts the block as one that wants rtnl.
 */

static int flow_indr_bind(struct nicsim_flow *flow, struct net_device *dev,
			  struct Qdisc *sch, struct flow_block_offload *bo,
			  void *data, void (*cleanup)(struct flow_block_cb *))
{
	struct flow_tunnel_dev tunnel = flow_tunnel_of(dev);
	struct flow_block_cb *cb;
	struct flow_attach *at;

	/* A device with one fixed remote or key would need them matched too. */
	if (tunnel.kind == FLOW_TUNNEL_NONE || !tunnel.collect_md)
		return -EOPNOTSUPP;
	at = flow_attach_new(&flow->nic->uplink, dev);
	if (!at)
		return -ENOMEM;
	at->tunnel = tunnel;
	cb = flow_indr_block_cb_alloc(flow_attach_cb, dev, at,
				      flow_attach_release, bo, dev, sch, data,
				      flow, cleanup);
	if (IS_ERR(cb)) {
		kfree(at);
		return PTR_ERR(cb);
	}
	flow_attach_link(at);
	flow_block_cb_link(flow, cb, bo);
	return 0;
}

static int flow_indr_unbind(struct net_device *dev,
			    struct flow_block_offload *bo)
{
	struct flow_block_cb *cb = flow_block_cb_lookup(bo->block,
							flow_attach_cb, dev);

	if (!cb)
		return -ENOENT;
	flow_indr_block_cb_remove(cb, bo);
	list_del(&cb->driver_list);
	return 0;
}

int flow_indr_setup(struct net_device *dev, struct Qdisc *sch, void *cb_priv,
		    enum tc_setup_type type, void *type_data, void *data,
		    void (*cleanup)(struct flow_block_cb *block_cb))
{
	struct flow_block_offload *bo = type_data;
	struct nicsim_flow *flow = cb_priv;

	if (!dev || type != TC_SETUP_BLOCK)
		return -EOPNOTSUPP;
	if (bo->binder_type != FLOW_BLOCK_BINDER_TYPE_CLSACT_INGRESS)
		return -EOPNOTSUPP;
	switch (bo->command) {
	case FLOW_BLOCK_BIND:
		return flow_indr_bind(flow, dev, sch, bo, data, cleanup);
	case FLOW_BLOCK_UNBIND:
		return flow_indr_unbind(dev, bo);
	}
	return -EOPNOTSUPP;
}
