// SPDX-License-Identifier: GPL-2.0
/*
 * pedit and csum. pedit's words are applied with act_pedit's own arithmetic,
 * so a masked set or an add means here what it means in software. A header
 * the packet does not have is left alone.
 */
#include <linux/crc32.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sctp.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/checksum.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>

#include "flow_exec.h"

/* ---- Where the headers are (linear data) ---- */

struct flow_headers {
	__be16 l3_proto;
	u8 l4_proto;
	int l3, l4;			/* negative: none */
};

static int flow_l4_of_ipv4(const struct sk_buff *skb, int l3, u8 *l4_proto)
{
	const struct iphdr *iph = (const void *)skb->data + l3;

	if (skb_headlen(skb) < l3 + sizeof(*iph) || iph->ihl < 5 ||
	    (iph->frag_off & htons(IP_OFFSET)))
		return -EINVAL;
	*l4_proto = iph->protocol;
	return l3 + iph->ihl * 4;
}

static int flow_l4_of_ipv6(const struct sk_buff *skb, int l3, u8 *l4_proto)
{
	const struct ipv6hdr *ip6h = (const void *)skb->data + l3;
	__be16 frag_off;

	if (skb_headlen(skb) < l3 + sizeof(*ip6h))
		return -EINVAL;
	*l4_proto = ip6h->nexthdr;
	l3 = ipv6_skip_exthdr(skb, l3 + sizeof(*ip6h), l4_proto, &frag_off);
	return frag_off & htons(IP6_OFFSET) ? -EINVAL : l3;
}

static struct flow_headers flow_headers_of(const struct sk_buff *skb)
{
	struct flow_headers h = { .l4 = -EINVAL };

	h.l3 = flow_l3_offset(skb, &h.l3_proto);
	if (h.l3 < 0)
		return h;
	if (h.l3_proto == htons(ETH_P_IP))
		h.l4 = flow_l4_of_ipv4(skb, h.l3, &h.l4_proto);
	else if (h.l3_proto == htons(ETH_P_IPV6))
		h.l4 = flow_l4_of_ipv6(skb, h.l3, &h.l4_proto);
	return h;
}

static int flow_mangle_base(const struct sk_buff *skb,
			    enum flow_action_mangle_base htype)
{
	struct flow_headers h = flow_headers_of(skb);

	switch (htype) {
	case FLOW_ACT_MANGLE_HDR_TYPE_ETH:
		return 0;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
		return h.l3_proto == htons(ETH_P_IP) ? h.l3 : -EINVAL;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		return h.l3_proto == htons(ETH_P_IPV6) ? h.l3 : -EINVAL;
	case FLOW_ACT_MANGLE_HDR_TYPE_TCP:
		return h.l4_proto == IPPROTO_TCP ? h.l4 : -EINVAL;
	case FLOW_ACT_MANGLE_HDR_TYPE_UDP:
		return h.l4_proto == IPPROTO_UDP ? h.l4 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* ---- pedit ---- */

static int flow_mangle_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			     const struct flow_action_entry *entry)
{
	if (entry->mangle.htype == FLOW_ACT_MANGLE_UNSPEC) {
		NL_SET_ERR_MSG_MOD(ctx->extack, "legacy pedit isn't offloaded");
		return -EOPNOTSUPP;
	}
	step->mangle = (struct flow_mangle) {
		.htype = entry->mangle.htype,
		.offset = entry->mangle.offset,
		.mask = entry->mangle.mask,
		.val = entry->mangle.val,
		.add = entry->id == FLOW_ACTION_ADD,
	};
	return 0;
}

/* The mask has ones where the word stays as it is. */
static void flow_mangle_word(void *word, const struct flow_mangle *m)
{
	u32 old = get_unaligned((u32 *)word);
	u32 val = m->add ? (old + m->val) & ~m->mask : m->val;

	put_unaligned((old & m->mask) ^ val, (u32 *)word);
}

static enum flow_verdict flow_mangle_exec(struct flow_pkt *pkt,
					  const struct flow_step *step)
{
	const struct flow_mangle *m = &step->mangle;
	int base;

	if (!flow_pkt_writable(pkt))
		return FLOW_DONE;
	base = flow_mangle_base(pkt->skb, m->htype);
	if (base < 0 || m->offset > skb_headlen(pkt->skb) ||
	    base + m->offset + sizeof(u32) > skb_headlen(pkt->skb))
		return FLOW_NEXT;
	flow_mangle_word(pkt->skb->data + base + m->offset, m);
	if (m->htype == FLOW_ACT_MANGLE_HDR_TYPE_ETH)
		pkt->skb->protocol = eth_hdr(pkt->skb)->h_proto;
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_mangle = {
	.name = "pedit",
	.parse = flow_mangle_parse,
	.exec = flow_mangle_exec,
};

bool flow_rewrite(struct flow_pkt *pkt, const struct flow_rewrite *rw)
{
	int base;

	if (!flow_pkt_writable(pkt))
		return false;
	base = flow_mangle_base(pkt->skb, rw->htype);
	if (base >= 0 && base + rw->offset + rw->len <= skb_headlen(pkt->skb))
		memcpy(pkt->skb->data + base + rw->offset, &rw->val, rw->len);
	return true;
}

/* ---- csum ---- */

#define FLOW_CSUM_KNOWN	(TCA_CSUM_UPDATE_FLAG_IPV4HDR |	\
			 TCA_CSUM_UPDATE_FLAG_ICMP |	\
			 TCA_CSUM_UPDATE_FLAG_IGMP |	\
			 TCA_CSUM_UPDATE_FLAG_TCP |	\
			 TCA_CSUM_UPDATE_FLAG_UDP |	\
			 TCA_CSUM_UPDATE_FLAG_SCTP)

static int flow_csum_parse(struct flow_act_ctx *ctx, struct flow_step *step,
			   const struct flow_action_entry *entry)
{
	if (entry->csum_flags & ~FLOW_CSUM_KNOWN) {
		NL_SET_ERR_MSG_MOD(ctx->extack,
				   "can't offload TC csum action for some header/s");
		return -EOPNOTSUPP;
	}
	step->csum_flags = entry->csum_flags;
	return 0;
}

/* Of the L4 data, padding of short frames not counted; negative: truncated. */
static int flow_l4_len(const struct sk_buff *skb, const struct flow_headers *h)
{
	const void *l3 = skb->data + h->l3;
	int end;

	if (h->l3_proto == htons(ETH_P_IP))
		end = h->l3 + ntohs(((const struct iphdr *)l3)->tot_len);
	else
		end = h->l3 + sizeof(struct ipv6hdr) +
		      ntohs(((const struct ipv6hdr *)l3)->payload_len);
	if (end > (int)skb_headlen(skb))
		return -EINVAL;
	return end - h->l4;
}

static __sum16 flow_pseudo_csum(const struct sk_buff *skb,
				const struct flow_headers *h, int len)
{
	const void *l3 = skb->data + h->l3;
	__wsum sum = csum_partial(skb->data + h->l4, len, 0);
	const struct ipv6hdr *ip6h = l3;
	const struct iphdr *iph = l3;

	if (h->l3_proto == htons(ETH_P_IP))
		return csum_tcpudp_magic(iph->saddr, iph->daddr, len,
					 h->l4_proto, sum);
	return csum_ipv6_magic(&ip6h->saddr, &ip6h->daddr, len, h->l4_proto,
			       sum);
}

static void flow_csum_tcp(struct sk_buff *skb, const struct flow_headers *h,
			  int len)
{
	struct tcphdr *th = (void *)skb->data + h->l4;

	if (len < (int)sizeof(*th))
		return;
	th->check = 0;
	th->check = flow_pseudo_csum(skb, h, len);
}

/* Zero means none over IPv4, and stays so. */
static void flow_csum_udp(struct sk_buff *skb, const struct flow_headers *h,
			  int len)
{
	struct udphdr *uh = (void *)skb->data + h->l4;

	if (len < (int)sizeof(*uh))
		return;
	if (!uh->check && h->l3_proto == htons(ETH_P_IP))
		return;
	uh->check = 0;
	uh->check = flow_pseudo_csum(skb, h, len) ?: CSUM_MANGLED_0;
}

/* ICMP and IGMP have theirs at the same place. */
static void flow_csum_plain(struct sk_buff *skb, const struct flow_headers *h,
			    int len)
{
	struct icmphdr *icmph = (void *)skb->data + h->l4;

	if (len < (int)sizeof(*icmph))
		return;
	icmph->checksum = 0;
	icmph->checksum = ip_compute_csum(icmph, len);
}

static void flow_csum_icmpv6(struct sk_buff *skb, const struct flow_headers *h,
			     int len)
{
	struct icmp6hdr *icmph = (void *)skb->data + h->l4;

	if (len < (int)sizeof(*icmph))
		return;
	icmph->icmp6_cksum = 0;
	icmph->icmp6_cksum = flow_pseudo_csum(skb, h, len);
}

static void flow_csum_sctp(struct sk_buff *skb, const struct flow_headers *h,
			   int len)
{
	struct sctphdr *sh = (void *)skb->data + h->l4;

	if (len < (int)sizeof(*sh))
		return;
	sh->checksum = 0;
	sh->checksum = cpu_to_le32(~__crc32c_le(~0, (u8 *)sh, len));
}

static void flow_csum_l4(struct sk_buff *skb, const struct flow_headers *h,
			 u32 flags)
{
	int len = flow_l4_len(skb, h);

	if (len < 0)
		return;
	if (h->l4_proto == IPPROTO_TCP && flags & TCA_CSUM_UPDATE_FLAG_TCP)
		flow_csum_tcp(skb, h, len);
	else if (h->l4_proto == IPPROTO_UDP && flags & TCA_CSUM_UPDATE_FLAG_UDP)
		flow_csum_udp(skb, h, len);
	else if (h->l4_proto == IPPROTO_ICMP &&
		 flags & TCA_CSUM_UPDATE_FLAG_ICMP)
		flow_csum_plain(skb, h, len);
	else if (h->l4_proto == IPPROTO_IGMP &&
		 flags & TCA_CSUM_UPDATE_FLAG_IGMP)
		flow_csum_plain(skb, h, len);
	else if (h->l4_proto == IPPROTO_ICMPV6 &&
		 flags & TCA_CSUM_UPDATE_FLAG_ICMP)
		flow_csum_icmpv6(skb, h, len);
	else if (h->l4_proto == IPPROTO_SCTP &&
		 flags & TCA_CSUM_UPDATE_FLAG_SCTP)
		flow_csum_sctp(skb, h, len);
}

static bool flow_is_fragment(const struct sk_buff *skb,
			     const struct flow_headers *h)
{
	const struct iphdr *iph = (const void *)skb->data + h->l3;

	return h->l3_proto == htons(ETH_P_IP) && ip_is_fragment(iph);
}

/* Nothing is found above the IP header of a later fragment, but the header
 * itself has a checksum like any other.
 */
static bool flow_has_whole_ipv4(const struct sk_buff *skb,
				const struct flow_headers *h)
{
	const struct iphdr *iph = (const void *)skb->data + h->l3;
	int left = (int)skb_headlen(skb) - h->l3;

	return h->l3_proto == htons(ETH_P_IP) && left >= (int)sizeof(*iph) &&
	       iph->ihl >= 5 && left >= iph->ihl * 4;
}

void flow_csum_fix(struct sk_buff *skb, u32 flags)
{
	struct flow_headers h = flow_headers_of(skb);

	if (h.l3 < 0)
		return;
	if (h.l4 >= 0 && !flow_is_fragment(skb, &h))
		flow_csum_l4(skb, &h, flags);
	if (flags & TCA_CSUM_UPDATE_FLAG_IPV4HDR &&
	    flow_has_whole_ipv4(skb, &h))
		ip_send_check((struct iphdr *)(skb->data + h.l3));
}

static enum flow_verdict flow_csum_exec(struct flow_pkt *pkt,
					const struct flow_step *step)
{
	if (!flow_pkt_writable(pkt))
		return FLOW_DONE;
	flow_csum_fix(pkt->skb, step->csum_flags);
	return FLOW_NEXT;
}

const struct flow_act_ops flow_act_csum = {
	.name = "csum",
	.parse = flow_csum_parse,
	.exec = flow_csum_exec,
};
