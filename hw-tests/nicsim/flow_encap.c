// SPDX-License-Identifier: GPL-2.0
/*
 * Outer headers on: inside out, tunnel header, UDP, IP, Ethernet. The route
 * and the neighbour are looked up for each packet, so they are never stale.
 *
 * Whatever device the route names, the packet leaves by the wire: an address
 * on a bridge above the uplink is how OVS hosts are set up. Only a VLAN device
 * matters, its tag is pushed; and a route that is not above the uplink at all
 * is refused, where mlx5 would send the packet out of the wrong card.
 */
#include <linux/if_vlan.h>
#include <net/dst_metadata.h>
#include <net/geneve.h>
#include <net/gre.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6_stubs.h>
#include <net/neighbour.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/vxlan.h>

#include "flow_exec.h"

#define FLOW_ENCAP_HEADROOM	(VLAN_ETH_HLEN + sizeof(struct ipv6hdr) + \
				 sizeof(struct udphdr) + \
				 sizeof(struct genevehdr) + 256)

/* How to reach a tunnel's remote end. */
struct flow_path {
	bool ipv6;
	struct in6_addr saddr6, daddr6;
	__be32 saddr, daddr;
	u8 ttl;
	struct ethhdr eth;
	bool tagged;
	__be16 vlan_proto;
	u16 vlan_id;
};

/* ---- Route and neighbour ---- */

/* Above the uplink: itself, a VLAN on it, or a switch it is a port of. */
static bool flow_above_uplink(struct nicsim_flow *flow, struct net_device *dev)
{
	struct net_device *uplink = rcu_dereference(flow->nic->uplink.rep);

	if (is_vlan_dev(dev))
		dev = vlan_dev_real_dev(dev);
	return dev == uplink || netif_is_ovs_master(dev) ||
	       netif_is_bridge_master(dev);
}

static void flow_path_dev(struct flow_path *path, const struct net_device *dev)
{
	ether_addr_copy(path->eth.h_source, dev->dev_addr);
	path->tagged = is_vlan_dev(dev);
	if (path->tagged) {
		path->vlan_proto = vlan_dev_vlan_proto(dev);
		path->vlan_id = vlan_dev_vlan_id(dev);
	}
}

/* An unknown neighbour is asked for, and the packet goes the slow way. */
static int flow_path_neigh(struct flow_path *path, const struct dst_entry *dst,
			   const void *daddr)
{
	struct neighbour *n = dst_neigh_lookup(dst, daddr);
	int err = 0;

	if (!n)
		return -ENOENT;
	if (READ_ONCE(n->nud_state) & NUD_VALID) {
		neigh_ha_snapshot(path->eth.h_dest, n, n->dev);
	} else {
		neigh_event_send(n, NULL);
		err = -EAGAIN;
	}
	neigh_release(n);
	return err;
}

static int flow_path_dst(struct nicsim_flow *flow, struct flow_path *path,
			 struct dst_entry *dst, const void *daddr)
{
	if (!flow_above_uplink(flow, dst->dev))
		return -EXDEV;
	flow_path_dev(path, dst->dev);
	return flow_path_neigh(path, dst, daddr);
}

static int flow_path_ipv4(struct nicsim_flow *flow, struct net *net,
			  const struct ip_tunnel_key *key,
			  struct flow_path *path)
{
	struct flowi4 fl4 = {
		.daddr = key->u.ipv4.dst,
		.saddr = key->u.ipv4.src,
		.flowi4_tos = key->tos & INET_DSCP_MASK,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);
	int err;

	if (IS_ERR(rt))
		return PTR_ERR(rt);
	path->saddr = fl4.saddr;
	path->daddr = fl4.daddr;
	path->ttl = key->ttl ?: ip4_dst_hoplimit(&rt->dst);
	err = flow_path_dst(flow, path, &rt->dst, &path->daddr);
	ip_rt_put(rt);
	return err;
}

static int flow_path_ipv6(struct nicsim_flow *flow, struct net *net,
			  const struct ip_tunnel_key *key,
			  struct flow_path *path)
{
	struct flowi6 fl6 = {
		.daddr = key->u.ipv6.dst,
		.saddr = key->u.ipv6.src,
		.flowlabel = ip6_make_flowinfo(key->tos, key->label),
	};
	struct dst_entry *dst;
	int err;

	dst = ipv6_stub->ipv6_dst_lookup_flow(net, NULL, &fl6, NULL);
	if (IS_ERR(dst))
		return PTR_ERR(dst);
	path->ipv6 = true;
	path->saddr6 = fl6.saddr;
	path->daddr6 = fl6.daddr;
	path->ttl = key->ttl ?: ip6_dst_hoplimit(dst);
	err = flow_path_dst(flow, path, dst, &path->daddr6);
	dst_release(dst);
	return err;
}

static int flow_path_find(struct nicsim_flow *flow,
			  const struct ip_tunnel_info *info,
			  struct flow_path *path)
{
	struct net_device *uplink = rcu_dereference(flow->nic->uplink.rep);

	if (!uplink)
		return -ENODEV;
	if (ip_tunnel_info_af(info) == AF_INET6)
		return flow_path_ipv6(flow, dev_net(uplink), &info->key, path);
	return flow_path_ipv4(flow, dev_net(uplink), &info->key, path);
}

/* ---- Headers, inside out ---- */

static void flow_push_vxlan(struct sk_buff *skb,
			    const struct ip_tunnel_info *info)
{
	struct vxlanhdr *vxh = skb_push(skb, sizeof(*vxh));

	vxh->vx_flags = VXLAN_HF_VNI;
	vxh->vx_vni = vxlan_vni_field(tunnel_id_to_key32(info->key.tun_id));
	if (test_bit(IP_TUNNEL_VXLAN_OPT_BIT, info->key.tun_flags))
		vxlan_build_gbp_hdr(vxh, ip_tunnel_info_opts(
					(struct ip_tunnel_info *)info));
}

static void flow_push_geneve(struct sk_buff *skb,
			     const struct ip_tunnel_info *info)
{
	u32 vni = ntohl(tunnel_id_to_key32(info->key.tun_id));
	struct genevehdr *gh;

	gh = skb_push(skb, sizeof(*gh) + info->options_len);
	memset(gh, 0, sizeof(*gh));
	gh->opt_len = info->options_len / 4;
	gh->oam = test_bit(IP_TUNNEL_OAM_BIT, info->key.tun_flags);
	gh->critical = test_bit(IP_TUNNEL_CRIT_OPT_BIT, info->key.tun_flags);
	gh->proto_type = htons(ETH_P_TEB);
	gh->vni[0] = vni >> 16;
	gh->vni[1] = vni >> 8;
	gh->vni[2] = vni;
	ip_tunnel_info_opts_get(gh->options, info);
}

static void flow_push_udp(struct sk_buff *skb, const struct flow_path *path,
			  __be16 src, __be16 dst, bool csum)
{
	struct udphdr *uh = skb_push(skb, sizeof(*uh));
	__wsum sum;

	uh->source = src;
	uh->dest = dst;
	uh->len = htons(skb->len);
	uh->check = 0;
	if (!csum)
		return;
	sum = csum_partial(uh, skb->len, 0);
	if (path->ipv6)
		uh->check = csum_ipv6_magic(&path->saddr6, &path->daddr6,
					    skb->len, IPPROTO_UDP, sum);
	else
		uh->check = csum_tcpudp_magic(path->saddr, path->daddr,
					      skb->len, IPPROTO_UDP, sum);
	uh->check = uh->check ?: CSUM_MANGLED_0;
}

static void flow_push_gre(struct sk_buff *skb,
			  const struct ip_tunnel_info *info)
{
	bool csum = test_bit(IP_TUNNEL_CSUM_BIT, info->key.tun_flags);
	bool key = test_bit(IP_TUNNEL_KEY_BIT, info->key.tun_flags);
	struct gre_base_hdr *gh;
	__be32 *words;

	gh = skb_push(skb, sizeof(*gh) + 4 * csum + 4 * key);
	gh->flags = (csum ? GRE_CSUM : 0) | (key ? GRE_KEY : 0);
	gh->protocol = htons(ETH_P_TEB);
	words = (__be32 *)(gh + 1);
	if (key)
		words[csum] = tunnel_id_to_key32(info->key.tun_id);
	if (csum) {
		words[0] = 0;
		*(__sum16 *)words = ip_compute_csum(gh, skb->len);
	}
}

static void flow_push_ipv4(struct sk_buff *skb, const struct flow_path *path,
			   const struct ip_tunnel_key *key, u8 tos, u8 proto)
{
	struct iphdr *iph = skb_push(skb, sizeof(*iph));

	memset(iph, 0, sizeof(*iph));
	iph->version = 4;
	iph->ihl = sizeof(*iph) / 4;
	iph->tos = tos;
	iph->tot_len = htons(skb->len);
	if (test_bit(IP_TUNNEL_DONT_FRAGMENT_BIT, key->tun_flags))
		iph->frag_off = htons(IP_DF);
	iph->ttl = path->ttl;
	iph->protocol = proto;
	iph->saddr = path->saddr;
	iph->daddr = path->daddr;
	ip_send_check(iph);
}

static void flow_push_ipv6(struct sk_buff *skb, const struct flow_path *path,
			   const struct ip_tunnel_key *key, u8 tos, u8 proto)
{
	struct ipv6hdr *ip6h = skb_push(skb, sizeof(*ip6h));

	ip6_flow_hdr(ip6h, tos, key->label);
	ip6h->payload_len = htons(skb->len - sizeof(*ip6h));
	ip6h->nexthdr = proto;
	ip6h->hop_limit = path->ttl;
	ip6h->saddr = path->saddr6;
	ip6h->daddr = path->daddr6;
}

static void flow_push_eth(struct sk_buff *skb, const struct flow_path *path)
{
	struct ethhdr *eth = skb_push(skb, sizeof(*eth));

	*eth = path->eth;
	eth->h_proto = htons(path->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	skb->protocol = eth->h_proto;
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb_reset_mac_len(skb);
	if (path->tagged)
		__vlan_hwaccel_put_tag(skb, path->vlan_proto, path->vlan_id);
}

/*
 * Where a tunnel device of the kernel takes the inner IP header to be: behind
 * one tag, which skb_vlan_untag() has taken off before it set the network
 * header, and validate_xmit_vlan() puts back without moving it.
 */
static const struct iphdr *flow_inner_ip(const struct sk_buff *skb)
{
	const struct ethhdr *eth = (const void *)skb->data;
	bool tagged = eth_type_vlan(eth->h_proto);

	return (const void *)(skb->data + (tagged ? VLAN_ETH_HLEN : ETH_HLEN));
}

static void flow_push_headers(struct sk_buff *skb,
			      const struct flow_path *path,
			      const struct flow_tunnel_dev *tunnel,
			      const struct ip_tunnel_info *info, __be16 src)
{
	const struct ip_tunnel_key *key = &info->key;
	u8 proto = tunnel->kind == FLOW_TUNNEL_GRE ? IPPROTO_GRE : IPPROTO_UDP;
	const struct iphdr *inner = flow_inner_ip(skb);
	u8 tos = ip_tunnel_ecn_encap(key->tos, inner, skb);

	if (tunnel->kind == FLOW_TUNNEL_VXLAN)
		flow_push_vxlan(skb, info);
	else if (tunnel->kind == FLOW_TUNNEL_GENEVE)
		flow_push_geneve(skb, info);
	else
		flow_push_gre(skb, info);
	/*
	 * ip_md_tunnel_xmit() asks when the GRE header is on already, and
	 * skb_protocol() then finds no EtherType behind a tag.
	 */
	if (proto == IPPROTO_GRE)
		tos = ip_tunnel_ecn_encap(key->tos, inner, skb);
	else
		flow_push_udp(skb, path, src, key->tp_dst ?: tunnel->dst_port,
			      test_bit(IP_TUNNEL_CSUM_BIT, key->tun_flags));
	if (path->ipv6)
		flow_push_ipv6(skb, path, key, tos, proto);
	else
		flow_push_ipv4(skb, path, key, tos, proto);
	flow_push_eth(skb, path);
}

/* ---- What the steps call ---- */

/* A copy with a tag in its data: the outer frame has no other place for it. */
static struct sk_buff *flow_inner_copy(const struct sk_buff *inner)
{
	struct sk_buff *skb = skb_copy_expand(inner, FLOW_ENCAP_HEADROOM, 0,
					      GFP_ATOMIC);

	if (skb && skb_vlan_tag_present(skb))
		skb = __vlan_hwaccel_push_inside(skb);
	return skb;
}

/* NULL: the way is lost meanwhile, or no memory. */
struct sk_buff *flow_tunnel_encap(struct nicsim_flow *flow,
				  const struct sk_buff *inner,
				  const struct flow_tunnel_dev *tunnel,
				  const struct ip_tunnel_info *info)
{
	struct flow_path path = {};
	struct sk_buff *skb;
	__be16 src;

	if (flow_path_find(flow, info, &path))
		return NULL;
	skb = flow_inner_copy(inner);
	if (!skb)
		return NULL;
	skb_dst_drop(skb);
	src = udp_flow_src_port(dev_net(skb->dev), skb, 0, 0, true);
	flow_push_headers(skb, &path, tunnel, info, src);
	return skb;
}

bool flow_tunnel_ready(struct nicsim_flow *flow,
		       const struct flow_tunnel_dev *tunnel,
		       const struct ip_tunnel_info *info)
{
	struct flow_path path = {};

	return !flow_path_find(flow, info, &path);
}

/* At insertion: a neighbour that is not known yet may come, a route must be. */
int flow_tunnel_check(struct nicsim_flow *flow,
		      const struct flow_tunnel_dev *tunnel,
		      const struct ip_tunnel_info *info,
		      struct netlink_ext_ack *extack)
{
	struct flow_path path = {};
	int err;

	rcu_read_lock();
	err = flow_path_find(flow, info, &path);
	rcu_read_unlock();
	if (!err || err == -EAGAIN || err == -ENOENT)
		return 0;
	if (err == -EXDEV) {
		NL_SET_ERR_MSG_MOD(extack,
				   "The tunnel's remote is not reached through the uplink");
		return -EOPNOTSUPP;
	}
	NL_SET_ERR_MSG_MOD(extack, "No route to the tunnel's remote");
	return err;
}
