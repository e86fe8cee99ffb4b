/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data plane: what tc flower puts into the card, and what the card does
 * with a packet. Read in this order:
 *
 *   flow.c          the entry points that nicsim.h promises
 *   flow_bind.c     tc blocks of representors, the uplink and tunnel devices
 *   flow_filter.c   FLOW_CLS_REPLACE, DESTROY, STATS
 *   flow_match.c    a flower match becomes a key and a mask
 *   flow_action.c   a flower action list becomes steps; flow_act_*.c each step
 *   flow_table.c    chain > prio > mask > key, read under RCU
 *   flow_parse.c    a packet becomes a key
 *   flow_exec.c     a packet walks the chains
 *   flow_miss.c     a packet the card could not finish goes to the host
 *
 * Semantics. Within a chain the lowest prio that matches wins; within a prio
 * masks have no order. The match is flower's own: packets are taken apart by
 * the kernel's flow dissector into the layout flower uses, so hardware and
 * software never disagree about what a packet is. A filter without a goto
 * ends the walk. Headers change on a private copy, so the packet "as it came"
 * is at hand until the walk ends.
 */
#ifndef NICSIM_FLOW_H
#define NICSIM_FLOW_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rhashtable.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/flow_dissector.h>
#include <net/flow_offload.h>
#include <net/pkt_cls.h>

#include "nicsim.h"

struct flow_pkt;
struct flow_pool_table;
struct flow_step;

/* ---- What a packet is ---- */

/*
 * All that can be matched, in the dissector's own structs, laid out as flower
 * lays them out: IPv4 and IPv6 share their place, told apart by addr_type.
 */
struct flow_key {
	struct flow_dissector_key_meta meta;
	struct flow_dissector_key_control control;
	struct flow_dissector_key_control enc_control;
	struct flow_dissector_key_basic basic;
	struct flow_dissector_key_eth_addrs eth;
	struct flow_dissector_key_vlan vlan;
	struct flow_dissector_key_vlan cvlan;
	union {
		struct flow_dissector_key_ipv4_addrs ipv4;
		struct flow_dissector_key_ipv6_addrs ipv6;
	};
	struct flow_dissector_key_ports tp;
	struct flow_dissector_key_ports_range tp_range;
	struct flow_dissector_key_icmp icmp;
	struct flow_dissector_key_arp arp;
	struct flow_dissector_key_tcp tcp;
	struct flow_dissector_key_ip ip;
	struct flow_dissector_key_ct ct;
	struct flow_dissector_key_ip enc_ip;
	struct flow_dissector_key_keyid enc_key_id;
	union {
		struct flow_dissector_key_ipv4_addrs enc_ipv4;
		struct flow_dissector_key_ipv6_addrs enc_ipv6;
	};
	struct flow_dissector_key_ports enc_tp;
	struct flow_dissector_key_enc_opts enc_opts;
} __aligned(sizeof(long));

/* ---- Where filters are ---- */

enum flow_tunnel_kind {
	FLOW_TUNNEL_NONE,
	FLOW_TUNNEL_VXLAN,
	FLOW_TUNNEL_GENEVE,
	FLOW_TUNNEL_GRE,
};

/* What the card must know of a tunnel device. */
struct flow_tunnel_dev {
	enum flow_tunnel_kind kind;
	__be16 dst_port;		/* UDP tunnels */
	bool collect_md;		/* "external": keys come with packets */
};

/*
 * A tc block bound to a port, or to a tunnel device above the uplink. Its
 * filters match packets that enter there. Freed after a grace period.
 */
struct flow_attach {
	struct list_head node;		/* nicsim_flow.attaches, RCU */
	struct nicsim_flow *flow;
	struct nicsim_vport *vport;	/* a tunnel device's is the uplink */
	struct net_device *dev;		/* representor, PF or tunnel netdev */
	struct flow_tunnel_dev tunnel;
	struct xarray chains;		/* struct flow_chain by its index */
	struct list_head filters;	/* nicsim_flow.lock */
	unsigned int count;		/* nicsim_flow.lock */
	struct rcu_work rwork;
};

struct flow_chain {
	struct flow_attach *at;
	u32 index;
	struct list_head prios;		/* ascending, RCU */
	atomic64_t misses;
	struct rcu_work rwork;
};

struct flow_prio {
	struct list_head node;		/* flow_chain.prios, RCU */
	struct flow_chain *chain;
	u32 prio;
	__be16 protocol;		/* outermost ethertype, or ETH_P_ALL */
	struct list_head masks;		/* RCU */
	struct rcu_head rcu;
};

/* Filters of one prio that look at the same bits: one hash table. */
struct flow_mask {
	struct list_head node;		/* flow_prio.masks, RCU */
	struct flow_prio *prio;
	struct flow_key mask;
	u16 start, end;			/* bytes of the key that count */
	bool ranges;			/* port ranges are compared one by one */
	unsigned int count;		/* nicsim_flow.lock */
	struct list_head filters;	/* RCU, newest first */
	struct rhashtable_params params;
	struct rhltable ht;
	struct rcu_work rwork;
};

struct flow_counter {
	atomic64_t pkts, bytes, drops;
	unsigned long lastused;		/* jiffies, READ_ONCE */
	u64 told_pkts, told_bytes, told_drops;	/* already given to tc */
};

void flow_counter_add(struct flow_counter *c, unsigned int bytes);
void flow_counter_tell(struct flow_counter *c, struct flow_stats *stats,
		       enum flow_action_hw_stats kind);

struct flow_filter_id {
	struct flow_attach *at;
	unsigned long cookie;
};

struct flow_filter {
	struct rhash_head by_id;
	struct rhlist_head by_key;
	struct list_head in_mask;	/* flow_mask.filters, RCU */
	struct list_head in_attach;	/* flow_attach.filters */
	struct flow_filter_id id;
	struct flow_mask *mask;
	u32 chain, prio;
	__be16 protocol;
	struct flow_key key;		/* masked */
	struct flow_counter counter;
	enum flow_action_hw_stats hw_stats;
	struct rcu_work rwork;
	struct flow_pool_table *pool_table;	/* mlx5; else NULL */
	unsigned int num_steps;
	struct flow_step *steps;
};

/* ---- One NIC's flow table ---- */

/* nic->flow */
struct nicsim_flow {
	struct nicsim *nic;
	/* Writers: filters, bindings, meters, ct zones. Never taken under
	 * flow_ct's table locks; may be taken under rtnl, and never the other
	 * way round, because tc calls us with and without rtnl.
	 */
	struct mutex lock;
	struct workqueue_struct *wq;	/* frees after a grace period */
	/* By port: VFs by their number, then the uplink. */
	struct flow_attach __rcu *ports[NICSIM_MAX_VFS + 1];
	struct list_head attaches;
	struct list_head block_cbs;	/* flow_block_cb.driver_list, rtnl */
	struct rhashtable filters;	/* by flow_filter_id */
	struct list_head meters;
	struct list_head ct_zones;
	struct list_head pool_tables;	/* flow_profile.c */
	unsigned int count;
	bool ignore_flow_level;		/* mlx5: chains and prios unlimited */
	atomic64_t hits, misses, slow, restored, ct_hits, ct_misses;
};

static inline struct nicsim_flow *nicsim_flow(const struct nicsim *nic)
{
	return nic->flow;
}

static inline u32 flow_profile(const struct nicsim_flow *flow)
{
	return READ_ONCE(flow->nic->knobs.profile);
}

struct flow_attach __rcu **flow_port_slot(struct nicsim_vport *vport);

/* flow_bind.c */
int flow_block_setup(struct nicsim_vport *vport, struct flow_block_offload *bo);
int flow_indr_setup(struct net_device *dev, struct Qdisc *sch, void *cb_priv,
		    enum tc_setup_type type, void *type_data, void *data,
		    void (*cleanup)(struct flow_block_cb *block_cb));
void flow_attach_release(void *cb_priv);

/* flow_filter.c */
int flow_filter_setup(struct flow_attach *at, struct flow_cls_offload *cls);
void flow_filters_flush(struct flow_attach *at);
bool flow_filter_ends_at(const struct flow_filter *f,
			 const struct nicsim_vport *vport);
void flow_filter_remove(struct flow_filter *f);
extern const struct rhashtable_params flow_filter_params;

/* flow_match.c */
int flow_match_parse(const struct flow_rule *rule, struct flow_key *key,
		     struct flow_key *mask, struct netlink_ext_ack *extack);
const char *flow_key_name(enum flow_dissector_key_id id);

/* flow_table.c */
int flow_table_insert(struct flow_attach *at, struct flow_filter *f,
		      const struct flow_key *mask);
void flow_table_remove(struct flow_filter *f);
struct flow_filter *flow_table_lookup(struct flow_attach *at, u32 chain,
				      const struct flow_key *key,
				      __be16 protocol);

/* flow_parse.c */
void flow_parse_init(void);
bool flow_parse(struct flow_pkt *pkt);
int flow_l3_offset(const struct sk_buff *skb, __be16 *proto);

/* flow_profile.c */
int flow_profile_check(struct flow_attach *at, struct flow_cls_offload *cls,
		       const struct flow_key *key, const struct flow_key *mask);
int flow_profile_reserve(struct nicsim_flow *flow, struct flow_filter *f,
			 struct netlink_ext_ack *extack);
void flow_profile_release(struct nicsim_flow *flow, struct flow_filter *f);

/* flow_debugfs.c */
void flow_debugfs_init(struct nicsim_flow *flow);
void flow_debugfs_exit(struct nicsim_flow *flow);

/* flow_tunnel.c: what tunnel devices are, and their headers */
struct flow_tunnel_dev flow_tunnel_of(const struct net_device *dev);
struct sk_buff *flow_tunnel_decap(const struct sk_buff *outer,
				  const struct flow_tunnel_dev *tunnel);
int flow_tunnel_check(struct nicsim_flow *flow,
		      const struct flow_tunnel_dev *tunnel,
		      const struct ip_tunnel_info *info,
		      struct netlink_ext_ack *extack);
bool flow_tunnel_ready(struct nicsim_flow *flow,
		       const struct flow_tunnel_dev *tunnel,
		       const struct ip_tunnel_info *info);
struct sk_buff *flow_tunnel_encap(struct nicsim_flow *flow,
				  const struct sk_buff *inner,
				  const struct flow_tunnel_dev *tunnel,
				  const struct ip_tunnel_info *info);

#endif /* NICSIM_FLOW_H */
