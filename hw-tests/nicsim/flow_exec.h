/* SPDX-License-Identifier: GPL-2.0 */
/* A packet on its walk through the chains, and the steps it meets. */
#ifndef NICSIM_FLOW_EXEC_H
#define NICSIM_FLOW_EXEC_H

#include <net/dst_metadata.h>

#include "flow.h"

struct flow_ct_zone;
struct flow_meter;

/* What conntrack in hardware knows of a packet. */
struct flow_ct_state {
	struct flow_dissector_key_ct key;
	unsigned long cookie;		/* nf_conn and ctinfo; 0: untracked */
};

struct flow_pkt {
	struct nicsim_flow *flow;
	struct nicsim_vport *in;	/* where it entered the e-switch */
	struct flow_attach *at;
	struct sk_buff *came;		/* its headers are never written */
	struct sk_buff *skb;		/* came itself, or a private copy */
	u32 chain;
	struct flow_key key;
	struct flow_ct_state ct;
	u64 miss_cookie;		/* of the ct action that missed */
	unsigned int jump;		/* the step FLOW_JUMP leads to */
	struct flow_filter *filter;	/* the one being executed */
};

/*
 * Make pkt->skb a private, linear copy unless it is one. False: no memory.
 */
bool flow_pkt_writable(struct flow_pkt *pkt);

/* What becomes of the packet after a step. */
enum flow_verdict {
	FLOW_NEXT,		/* the next step */
	FLOW_JUMP,		/* the step in pkt->jump */
	FLOW_GOTO,		/* the chain in pkt->chain */
	FLOW_DONE,		/* the card has finished with it */
	FLOW_ACCEPT,		/* to the representor, as it is now */
	FLOW_MISS,		/* no filter here */
	FLOW_CT_MISS,		/* conntrack must see it; pkt->miss_cookie */
	FLOW_SLOW,		/* the card cannot do it now; as it came */
};

enum flow_target_kind {
	FLOW_TARGET_PORT,
	FLOW_TARGET_TUNNEL,
};

struct flow_target {
	enum flow_target_kind kind;
	struct nicsim_vport *vport;
	struct flow_tunnel_dev tunnel;
	const struct ip_tunnel_info *encap;	/* of the step before */
};

struct flow_mangle {
	enum flow_action_mangle_base htype;
	u32 offset;
	u32 mask, val;			/* as act_pedit has them */
	bool add;
};

/* Bytes to put into a header: what conntrack's NAT asks for. */
struct flow_rewrite {
	enum flow_action_mangle_base htype;
	u16 offset, len;
	__be32 val;			/* its first len bytes */
};

/* A branch of a police action. */
struct flow_branch {
	enum flow_verdict verdict;
	u32 jump;			/* FLOW_JUMP: to this tc action, */
	unsigned int step;		/* which is this step */
};

struct flow_police {
	struct flow_meter *meter;
	struct flow_branch exceed, conform;
};

struct flow_step {
	const struct flow_act_ops *ops;
	enum flow_action_id id;
	unsigned long action;		/* the tc action it came from */
	bool last;			/* tc stops here whatever follows */
	union {
		u32 chain;
		struct flow_target target;
		struct {
			u16 vid;
			u8 prio;
			__be16 proto;
		} vlan;
		struct flow_mangle mangle;
		u32 csum_flags;
		struct ip_tunnel_info *tunnel;
		struct flow_police police;
		struct {
			struct flow_ct_zone *zone;	/* NULL: clear */
			bool nat;
			u64 miss_cookie;
		} ct;
	};
};

/* What earlier actions of a filter have set up, while it is translated. */
struct flow_act_ctx {
	struct nicsim_flow *flow;
	struct flow_attach *at;
	const struct ip_tunnel_info *encap;
	struct netlink_ext_ack *extack;
};

/* One kind of action. */
struct flow_act_ops {
	const char *name;
	int (*parse)(struct flow_act_ctx *ctx, struct flow_step *step,
		     const struct flow_action_entry *entry);
	enum flow_verdict (*exec)(struct flow_pkt *pkt,
				  const struct flow_step *step);
	void (*release)(struct nicsim_flow *flow, struct flow_step *step);
};

extern const struct flow_act_ops flow_act_accept, flow_act_drop, flow_act_trap;
extern const struct flow_act_ops flow_act_goto;
extern const struct flow_act_ops flow_act_redirect, flow_act_mirror;
extern const struct flow_act_ops flow_act_vlan_push, flow_act_vlan_pop;
extern const struct flow_act_ops flow_act_vlan_mangle;
extern const struct flow_act_ops flow_act_mangle, flow_act_csum;
extern const struct flow_act_ops flow_act_encap, flow_act_decap;
extern const struct flow_act_ops flow_act_police, flow_act_ct;

/* flow_action.c */
int flow_actions_parse(struct flow_act_ctx *ctx, struct flow_filter *f,
		       const struct flow_action *action);
void flow_actions_release(struct nicsim_flow *flow, struct flow_filter *f);
enum flow_verdict flow_actions_run(struct flow_pkt *pkt, struct flow_filter *f);

/* flow_act_edit.c */
bool flow_rewrite(struct flow_pkt *pkt, const struct flow_rewrite *rw);
void flow_csum_fix(struct sk_buff *skb, u32 csum_flags);

/* flow_exec.c */
bool flow_exec(struct nicsim_flow *flow, struct nicsim_vport *in,
	       struct sk_buff *skb);

/* flow_miss.c. True: consumed; false: the caller delivers pkt->came. */
bool flow_to_host(struct flow_pkt *pkt, enum flow_verdict verdict);

#endif /* NICSIM_FLOW_EXEC_H */
