// SPDX-License-Identifier: GPL-2.0
/*
 * Outer headers off: VXLAN (with GBP), Geneve with options, GRE with an
 * Ethernet frame inside, over IPv4 and IPv6. What the header said goes where
 * the tunnel device would put it, into a metadata dst, so that the dissector
 * and, after a miss, the host find it there.
 */
#include <net/dst_metadata.h>
#include <net/geneve.h>
#include <net/gre.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/udp.h>
#include <net/vxlan.h>

#include "flow_exec.h"

/* A frame that may be a tunnel's, taken apart layer by layer. Linear. */
struct flow_outer {
	const struct sk_buff *skb;
	const struct iphdr *iph;	/* one of these two */
	const struct ipv6hdr *ip6h;
	u8 proto;
	unsigned int off;		/* of the next header */
	__be16 tp_src, tp_dst;
	__be64 tun_id;
	IP_TUNNEL_DECLARE_FLAGS(flags);
	const void *opts;
	unsigned int opts_len;
	u32 gbp;
};

static const void *flow_outer_pull(struct flow_outer *o, unsigned int len)
{
	const void *header = o->skb->data + o->off;

	if (o->off + len > skb_headlen(o->skb))
		return NULL;
	o->off += len;
	return header;
}

static bool flow_outer_ipv4(struct flow_outer *o)
{
	const struct iphdr *iph = flow_outer_pull(o, sizeof(*iph));

	if (!iph || iph->ihl < 5 || ip_is_fragment(iph))
		return false;
	o->iph = iph;
	o->proto = iph->protocol;
	return flow_outer_pull(o, iph->ihl * 4 - sizeof(*iph));
}

static bool flow_outer_ipv6(struct flow_outer *o)
{
	o->ip6h = flow_outer_pull(o, sizeof(*o->ip6h));
	if (!o->ip6h)
		return false;
	o->proto = o->ip6h->nexthdr;
	return true;
}

static bool flow_outer_ip(struct flow_outer *o)
{
	__be16 proto;
	int off = flow_l3_offset(o->skb, &proto);

	if (off < 0)
		return false;
	o->off = off;
	if (proto == htons(ETH_P_IP))
		return flow_outer_ipv4(o);
	return proto == htons(ETH_P_IPV6) && flow_outer_ipv6(o);
}

static bool flow_outer_udp(struct flow_outer *o, __be16 dst_port)
{
	const struct udphdr *uh;

	if (o->proto != IPPROTO_UDP)
		return false;
	uh = flow_outer_pull(o, sizeof(*uh));
	if (!uh || uh->dest != dst_port)
		return false;
	o->tp_src = uh->source;
	o->tp_dst = uh->dest;
	__assign_bit(IP_TUNNEL_CSUM_BIT, o->flags, uh->check);
	return true;
}

static void flow_outer_gbp(struct flow_outer *o, const struct vxlanhdr *vxh)
{
	const struct vxlanhdr_gbp *gbp = (const void *)vxh;

	if (!(vxh->vx_flags & VXLAN_HF_GBP))
		return;
	o->gbp = ntohs(gbp->policy_id) |
		 (gbp->dont_learn ? VXLAN_GBP_DONT_LEARN : 0) |
		 (gbp->policy_applied ? VXLAN_GBP_POLICY_APPLIED : 0);
	__set_bit(IP_TUNNEL_VXLAN_OPT_BIT, o->flags);
	o->opts = &o->gbp;
	o->opts_len = sizeof(o->gbp);
}

static bool flow_outer_vxlan(struct flow_outer *o, __be16 dst_port)
{
	const struct vxlanhdr *vxh;

	if (!flow_outer_udp(o, dst_port))
		return false;
	vxh = flow_outer_pull(o, sizeof(*vxh));
	if (!vxh || !(vxh->vx_flags & VXLAN_HF_VNI))
		return false;
	__set_bit(IP_TUNNEL_KEY_BIT, o->flags);
	o->tun_id = key32_to_tunnel_id(vxlan_vni(vxh->vx_vni));
	flow_outer_gbp(o, vxh);
	return true;
}

static bool flow_outer_geneve(struct flow_outer *o, __be16 dst_port)
{
	const struct genevehdr *gh;

	if (!flow_outer_udp(o, dst_port))
		return false;
	gh = flow_outer_pull(o, sizeof(*gh));
	if (!gh || gh->ver || gh->proto_type != htons(ETH_P_TEB))
		return false;
	__set_bit(IP_TUNNEL_KEY_BIT, o->flags);
	__assign_bit(IP_TUNNEL_OAM_BIT, o->flags, gh->oam);
	__assign_bit(IP_TUNNEL_CRIT_OPT_BIT, o->flags, gh->critical);
	o->tun_id = key32_to_tunnel_id(htonl(gh->vni[0] << 16 |
					     gh->vni[1] << 8 | gh->vni[2]));
	o->opts_len = gh->opt_len * 4;
	o->opts = flow_outer_pull(o, o->opts_len);
	if (o->opts_len)
		__set_bit(IP_TUNNEL_GENEVE_OPT_BIT, o->flags);
	return o->opts;
}

static bool flow_outer_gre(struct flow_outer *o)
{
	const struct gre_base_hdr *gh;
	const __be32 *key;

	if (o->proto != IPPROTO_GRE)
		return false;
	gh = flow_outer_pull(o, sizeof(*gh));
	if (!gh || gh->protocol != htons(ETH_P_TEB) ||
	    gh->flags & (GRE_VERSION | GRE_ROUTING))
		return false;
	if (gh->flags & GRE_CSUM && !flow_outer_pull(o, sizeof(__be32)))
		return false;
	if (gh->flags & GRE_KEY) {
		key = flow_outer_pull(o, sizeof(*key));
		if (!key)
			return false;
		o->tun_id = key32_to_tunnel_id(*key);
	}
	if (gh->flags & GRE_SEQ && !flow_outer_pull(o, sizeof(__be32)))
		return false;
	__assign_bit(IP_TUNNEL_KEY_BIT, o->flags, gh->flags & GRE_KEY);
	__assign_bit(IP_TUNNEL_CSUM_BIT, o->flags, gh->flags & GRE_CSUM);
	return true;
}

static bool flow_outer_parse(struct flow_outer *o,
			     const struct flow_tunnel_dev *tunnel)
{
	if (!flow_outer_ip(o))
		return false;
	switch (tunnel->kind) {
	case FLOW_TUNNEL_VXLAN:
		return flow_outer_vxlan(o, tunnel->dst_port);
	case FLOW_TUNNEL_GENEVE:
		return flow_outer_geneve(o, tunnel->dst_port);
	case FLOW_TUNNEL_GRE:
		return flow_outer_gre(o);
	case FLOW_TUNNEL_NONE:
		break;
	}
	return false;
}

/* Not inlined: fortified memcpy() would see one struct, not the room behind. */
static noinline void flow_outer_put_opts(const struct flow_outer *o,
					 struct ip_tunnel_info *info)
{
	ip_tunnel_info_opts_set(info, o->opts, o->opts_len, o->flags);
}

static struct metadata_dst *flow_outer_dst(const struct flow_outer *o)
{
	struct metadata_dst *md;

	if (o->iph)
		md = __ip_tun_set_dst(o->iph->saddr, o->iph->daddr,
				      o->iph->tos, o->iph->ttl, o->tp_dst,
				      o->flags, o->tun_id, o->opts_len);
	else
		md = __ipv6_tun_set_dst(&o->ip6h->saddr, &o->ip6h->daddr,
					ipv6_get_dsfield(o->ip6h),
					o->ip6h->hop_limit, o->tp_dst,
					ip6_flowlabel(o->ip6h), o->flags,
					o->tun_id, o->opts_len);
	if (!md)
		return NULL;
	md->u.tun_info.key.tp_src = o->tp_src;
	if (o->opts_len)
		flow_outer_put_opts(o, &md->u.tun_info);
	return md;
}

static struct sk_buff *flow_outer_strip(struct sk_buff *skb,
					const struct flow_tunnel_dev *tunnel)
{
	struct flow_outer o = { .skb = skb };
	struct metadata_dst *md;

	if (!flow_outer_parse(&o, tunnel) ||
	    o.off + ETH_HLEN > skb_headlen(skb))
		return NULL;
	md = flow_outer_dst(&o);
	if (!md)
		return NULL;
	__vlan_hwaccel_clear_tag(skb);
	skb_pull(skb, o.off);
	skb_reset_mac_header(skb);
	skb_dst_drop(skb);
	skb_dst_set(skb, &md->dst);
	return skb;
}

/*
 * The frame inside, a copy of its own; NULL if there is none for this tunnel.
 * The copy is made first, because headers are easier to read in one piece.
 */
struct sk_buff *flow_tunnel_decap(const struct sk_buff *outer,
				  const struct flow_tunnel_dev *tunnel)
{
	struct sk_buff *copy = skb_copy(outer, GFP_ATOMIC);

	if (!copy)
		return NULL;
	if (flow_outer_strip(copy, tunnel))
		return copy;
	kfree_skb(copy);
	return NULL;
}
