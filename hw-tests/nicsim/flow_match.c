// SPDX-License-Identifier: GPL-2.0
/*
 * A flower match becomes our key and mask. flower describes its own key struct
 * with a dissector, one offset a kind of key, so each kind is one memcpy into
 * the same kind here.
 */
#include "flow.h"

struct flow_key_place {
	enum flow_dissector_key_id id;
	u16 offset, size;
};

#define PLACE(ID, MEMBER) {					\
	.id = FLOW_DISSECTOR_KEY_##ID,				\
	.offset = offsetof(struct flow_key, MEMBER),		\
	.size = sizeof_field(struct flow_key, MEMBER),		\
}

/* The kinds of keys the parser fills. */
static const struct flow_key_place flow_key_places[] = {
	PLACE(META, meta),
	PLACE(CONTROL, control),
	PLACE(BASIC, basic),
	PLACE(ETH_ADDRS, eth),
	PLACE(VLAN, vlan),
	PLACE(CVLAN, cvlan),
	PLACE(IPV4_ADDRS, ipv4),
	PLACE(IPV6_ADDRS, ipv6),
	PLACE(PORTS, tp),
	PLACE(PORTS_RANGE, tp_range),
	PLACE(ICMP, icmp),
	PLACE(ARP, arp),
	PLACE(TCP, tcp),
	PLACE(IP, ip),
	PLACE(CT, ct),
	PLACE(ENC_CONTROL, enc_control),
	PLACE(ENC_KEYID, enc_key_id),
	PLACE(ENC_IPV4_ADDRS, enc_ipv4),
	PLACE(ENC_IPV6_ADDRS, enc_ipv6),
	PLACE(ENC_PORTS, enc_tp),
	PLACE(ENC_IP, enc_ip),
	PLACE(ENC_OPTS, enc_opts),
};

static const char *const flow_key_names[FLOW_DISSECTOR_KEY_MAX] = {
	[FLOW_DISSECTOR_KEY_CONTROL] = "control flags",
	[FLOW_DISSECTOR_KEY_BASIC] = "protocol",
	[FLOW_DISSECTOR_KEY_IPV4_ADDRS] = "IPv4 addresses",
	[FLOW_DISSECTOR_KEY_IPV6_ADDRS] = "IPv6 addresses",
	[FLOW_DISSECTOR_KEY_PORTS] = "L4 ports",
	[FLOW_DISSECTOR_KEY_PORTS_RANGE] = "L4 port ranges",
	[FLOW_DISSECTOR_KEY_ICMP] = "ICMP type and code",
	[FLOW_DISSECTOR_KEY_ETH_ADDRS] = "Ethernet addresses",
	[FLOW_DISSECTOR_KEY_TIPC] = "TIPC",
	[FLOW_DISSECTOR_KEY_ARP] = "ARP",
	[FLOW_DISSECTOR_KEY_VLAN] = "VLAN",
	[FLOW_DISSECTOR_KEY_FLOW_LABEL] = "IPv6 flow label",
	[FLOW_DISSECTOR_KEY_GRE_KEYID] = "GRE key",
	[FLOW_DISSECTOR_KEY_MPLS_ENTROPY] = "MPLS entropy label",
	[FLOW_DISSECTOR_KEY_ENC_KEYID] = "tunnel key id",
	[FLOW_DISSECTOR_KEY_ENC_IPV4_ADDRS] = "tunnel IPv4 addresses",
	[FLOW_DISSECTOR_KEY_ENC_IPV6_ADDRS] = "tunnel IPv6 addresses",
	[FLOW_DISSECTOR_KEY_ENC_CONTROL] = "tunnel control flags",
	[FLOW_DISSECTOR_KEY_ENC_PORTS] = "tunnel ports",
	[FLOW_DISSECTOR_KEY_MPLS] = "MPLS",
	[FLOW_DISSECTOR_KEY_TCP] = "TCP flags",
	[FLOW_DISSECTOR_KEY_IP] = "IP TOS and TTL",
	[FLOW_DISSECTOR_KEY_CVLAN] = "CVLAN",
	[FLOW_DISSECTOR_KEY_ENC_IP] = "tunnel TOS and TTL",
	[FLOW_DISSECTOR_KEY_ENC_OPTS] = "tunnel options",
	[FLOW_DISSECTOR_KEY_META] = "ingress port",
	[FLOW_DISSECTOR_KEY_CT] = "conntrack",
	[FLOW_DISSECTOR_KEY_HASH] = "packet hash",
	[FLOW_DISSECTOR_KEY_NUM_OF_VLANS] = "number of VLANs",
	[FLOW_DISSECTOR_KEY_PPPOE] = "PPPoE",
	[FLOW_DISSECTOR_KEY_L2TPV3] = "L2TPv3",
	[FLOW_DISSECTOR_KEY_CFM] = "CFM",
	[FLOW_DISSECTOR_KEY_IPSEC] = "IPsec SPI",
};

const char *flow_key_name(enum flow_dissector_key_id id)
{
	if (id < FLOW_DISSECTOR_KEY_MAX && flow_key_names[id])
		return flow_key_names[id];
	return "an unknown key";
}

static u64 flow_key_copy(const struct flow_match *match, struct flow_key *key,
			 struct flow_key *mask)
{
	const struct flow_dissector *d = match->dissector;
	const struct flow_key_place *p;
	u64 copied = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flow_key_places); i++) {
		p = &flow_key_places[i];
		if (!dissector_uses_key(d, p->id))
			continue;
		memcpy((void *)key + p->offset,
		       match->key + d->offset[p->id], p->size);
		memcpy((void *)mask + p->offset,
		       match->mask + d->offset[p->id], p->size);
		copied |= BIT_ULL(p->id);
	}
	return copied;
}

static void flow_key_apply_mask(struct flow_key *key,
				const struct flow_key *mask)
{
	const unsigned long *m = (const unsigned long *)mask;
	unsigned long *k = (unsigned long *)key;
	unsigned int i;

	BUILD_BUG_ON(sizeof(*key) % sizeof(long));
	for (i = 0; i < sizeof(*key) / sizeof(long); i++)
		k[i] &= m[i];
}

int flow_match_parse(const struct flow_rule *rule, struct flow_key *key,
		     struct flow_key *mask, struct netlink_ext_ack *extack)
{
	const struct flow_match *match = &rule->match;
	u64 unknown;

	unknown = match->dissector->used_keys & ~flow_key_copy(match, key, mask);
	if (unknown) {
		NL_SET_ERR_MSG_FMT_MOD(extack, "Match on %s is not supported",
				       flow_key_name(__ffs64(unknown)));
		return -EOPNOTSUPP;
	}
	if (mask->meta.l2_miss || mask->meta.ingress_iftype) {
		NL_SET_ERR_MSG_MOD(extack, "Can't match on \"l2_miss\"");
		return -EOPNOTSUPP;
	}
	flow_key_apply_mask(key, mask);
	return 0;
}
