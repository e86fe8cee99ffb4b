// SPDX-License-Identifier: GPL-2.0
/*
 * What tunnel devices are: their kind, the UDP port they listen at, and
 * whether each packet brings its own keys ("external"); and the tunnel_key
 * actions. The bytes are in flow_decap.c and flow_encap.c.
 */
#include <linux/if_link.h>
#include <linux/slab.h>
#include <net/geneve.h>
#include <net/gre.h>
#include <net/ip6_tunnel.h>
#include <net/ip_tunnels.h>
#include <net/netlink.h>
#include <net/rtnetlink.h>
#include <net/vxlan.h>

#include "flow_exec.h"

static struct flow_tunnel_dev flow_vxlan_dev(const struct net_device *dev)
{
	const struct vxlan_dev *vxlan = netdev_priv(dev);

	if (vxlan->cfg.flags & VXLAN_F_GPE)
		return (struct flow_tunnel_dev) {};
	return (struct flow_tunnel_dev) {
		.kind = FLOW_TUNNEL_VXLAN,
		.dst_port = vxlan->cfg.dst_port,
		.collect_md = vxlan->cfg.flags & VXLAN_F_COLLECT_METADATA,
	};
}

static void flow_geneve_attrs(const struct sk_buff *skb,
			      struct flow_tunnel_dev *tunnel)
{
	const struct nlattr *attr;
	int rem;

	nlmsg_for_each_attr_type(attr, IFLA_GENEVE_PORT,
				 (struct nlmsghdr *)skb->data, 0, rem)
		tunnel->dst_port = nla_get_be16(attr);
	nlmsg_for_each_attr_type(attr, IFLA_GENEVE_COLLECT_METADATA,
				 (struct nlmsghdr *)skb->data, 0, rem)
		tunnel->collect_md = true;
}

/* geneve keeps its struct to itself; what it tells netlink is public. */
static struct flow_tunnel_dev flow_geneve_dev(const struct net_device *dev)
{
	struct flow_tunnel_dev tunnel = {
		.kind = FLOW_TUNNEL_GENEVE,
		.dst_port = htons(GENEVE_UDP_PORT),
	};
	struct nlmsghdr *nlh;
	struct sk_buff *skb;

	skb = nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!skb)
		return tunnel;
	nlh = nlmsg_put(skb, 0, 0, 0, 0, 0);
	if (nlh && !dev->rtnl_link_ops->fill_info(skb, dev)) {
		nlmsg_end(skb, nlh);
		flow_geneve_attrs(skb, &tunnel);
	}
	kfree_skb(skb);
	return tunnel;
}

static struct flow_tunnel_dev flow_gre_dev(const struct net_device *dev)
{
	const struct ip_tunnel *tunnel = netdev_priv(dev);

	return (struct flow_tunnel_dev) {
		.kind = FLOW_TUNNEL_GRE,
		.collect_md = tunnel->collect_md,
	};
}

static struct flow_tunnel_dev flow_gre6_dev(const struct net_device *dev)
{
	const struct ip6_tnl *tunnel = netdev_priv(dev);

	return (struct flow_tunnel_dev) {
		.kind = FLOW_TUNNEL_GRE,
		.collect_md = tunnel->parms.collect_md,
	};
}

struct flow_tunnel_dev flow_tunnel_of(const struct net_device *dev)
{
	if (netif_is_vxlan(dev))
		return flow_vxlan_dev(dev);
	if (netif_is_geneve(dev))
		return flow_geneve_dev(dev);
	if (netif_is_gretap(dev))
		return flow_gre_dev(dev);
	if (netif_is_ip6gretap(dev))
		return flow_gre6_dev(dev);
	return (struct flow_tunnel_dev) {};
}

/* ---- tunnel_key set ---- */

static int flow_encap_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			    const struct flow_action_entry *entry)
{
	const struct ip_tunnel_info *info = entry->tunnel;

	if (!info) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "Zero tunnel attributes is not supported");
		return -EOPNOTSUPP;
	}
	step->tunnel = kmemdup(info, sizeof(*info) + info->options_len,
			       GFP_KERNEL);
	if (!step->tunnel)
		return -ENOMEM;
	step->tunnel->dst_cache.cache = NULL;	/* tc's own */
	ctx->encap = step->tunnel;
	return 0;
}

/* The redirect or mirror behind it builds the header. */
static enum flow_verdict flow_encap_exec(struct flow_pkt *pkt,
					 const struct flow_step *step)
{
	return FLOW_NEXT;
}

static void flow_encap_release(struct nicsim_flow *flow,
			       struct flow_step *step)
{
	kfree_rcu_mightsleep(step->tunnel);
}

const struct flow_act_ops flow_act_encap = {
	.name = "tunnel_key set",
	.parse = flow_encap_parse,
	.exec = flow_encap_exec,
	.release = flow_encap_release,
};

/* ---- tunnel_key unset ---- */

static int flow_decap_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			    const struct flow_action_entry *entry)
{
	if (ctx->at->tunnel.kind == FLOW_TUNNEL_NONE) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "tunnel_key unset is offloaded only on a tunnel device");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* The header is off since the lookup; this forgets the keys it had. */
static enum flow_verdict flow_decap_exec(struct flow_pkt *pkt,
					 const struct flow_step *step)
{
	if (!flow_pkt_writable(pkt))
		return FLOW_DONE;
	skb_dst_drop(pkt->skb);
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_decap = {
	.name = "tunnel_key unset",
	.parse = flow_decap_parse,
	.exec = flow_decap_exec,
};
