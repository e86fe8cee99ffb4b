// SPDX-License-Identifier: GPL-2.0
/*
 * A packet becomes a key: the kernel's dissector, once, with every kind of key
 * we know, where flower asks only for those of one mask. The answer is the
 * same, because no kind of key changes how the dissector goes on.
 */
#include <linux/if_vlan.h>
#include <net/ip.h>

#include "flow_exec.h"

static struct flow_dissector flow_dissector __read_mostly;

#define WANT(ID, MEMBER) {					\
	.key_id = FLOW_DISSECTOR_KEY_##ID,			\
	.offset = offsetof(struct flow_key, MEMBER),		\
}

static const struct flow_dissector_key flow_wanted[] = {
	WANT(META, meta),
	WANT(CONTROL, control),
	WANT(BASIC, basic),
	WANT(ETH_ADDRS, eth),
	WANT(VLAN, vlan),
	WANT(CVLAN, cvlan),
	WANT(IPV4_ADDRS, ipv4),
	WANT(IPV6_ADDRS, ipv6),
	WANT(PORTS, tp),
	WANT(PORTS_RANGE, tp_range),
	WANT(ICMP, icmp),
	WANT(ARP, arp),
	WANT(TCP, tcp),
	WANT(IP, ip),
	WANT(ENC_CONTROL, enc_control),
	WANT(ENC_KEYID, enc_key_id),
	WANT(ENC_IPV4_ADDRS, enc_ipv4),
	WANT(ENC_IPV6_ADDRS, enc_ipv6),
	WANT(ENC_PORTS, enc_tp),
	WANT(ENC_IP, enc_ip),
	WANT(ENC_OPTS, enc_opts),
};

void flow_parse_init(void)
{
	skb_flow_dissector_init(&flow_dissector, flow_wanted,
				ARRAY_SIZE(flow_wanted));
}

/* The dissector trusts what a receiving driver would have set. */
static void flow_set_headers(struct sk_buff *skb)
{
	__be16 proto;

	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb_reset_mac_len(skb);
	proto = eth_hdr(skb)->h_proto;
	if (!eth_proto_is_802_3(proto))
		proto = htons(ETH_P_802_2);
	skb->protocol = proto;
}

bool flow_parse(struct flow_pkt *pkt)
{
	struct flow_key *key = &pkt->key;

	if (!pskb_may_pull(pkt->skb, ETH_HLEN))
		return false;
	flow_set_headers(pkt->skb);
	memset(key, 0, sizeof(*key));
	key->meta.ingress_ifindex = pkt->at->dev->ifindex;
	key->ct = pkt->ct.key;
	skb_flow_dissect_tunnel_info(pkt->skb, &flow_dissector, key);
	__skb_flow_dissect(dev_net(pkt->at->dev), pkt->skb, &flow_dissector,
			   key, NULL, 0, 0, 0,
			   FLOW_DISSECTOR_F_STOP_BEFORE_ENCAP);
	return true;
}

/* Behind the VLAN tags in the data. Linear data only. Negative: truncated. */
int flow_l3_offset(const struct sk_buff *skb, __be16 *proto)
{
	const struct vlan_hdr *vlan;
	int offset = ETH_HLEN;

	*proto = skb->protocol;
	while (eth_type_vlan(*proto)) {
		if (offset + VLAN_HLEN > skb_headlen(skb))
			return -EINVAL;
		vlan = (const struct vlan_hdr *)(skb->data + offset);
		*proto = vlan->h_vlan_encapsulated_proto;
		offset += VLAN_HLEN;
	}
	return offset;
}
