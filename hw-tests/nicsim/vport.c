// SPDX-License-Identifier: GPL-2.0
/*
 * The e-switch's ports as packets see them: in from a function or the wire,
 * out to one, and aside to the representor.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>

#include "control.h"

void nicsim_vport_init(struct nicsim *nic, struct nicsim_vport *vport, u16 num)
{
	vport->nic = nic;
	vport->num = num;
	INIT_DELAYED_WORK(&vport->rep_work, nicsim_rep_appear);
	nicsim_vport_reset(vport);
}

/* As a VF is when it is created, whatever the last one with its index was. */
void nicsim_vport_reset(struct nicsim_vport *vport)
{
	vport->fn_active = true;
	vport->cfg = (struct nicsim_vf_config) {
		.spoofchk = true,
		.vlan_proto = htons(ETH_P_8021Q),
		.link_state = IFLA_VF_LINK_STATE_AUTO,
	};
}

struct nicsim_vport *nicsim_vport_of_rep(struct nicsim *nic,
					 const struct net_device *dev)
{
	struct nicsim_vport *vport;

	if (!nicsim_is_rep(dev) && !nicsim_is_uplink_netdev(dev))
		return NULL;
	vport = nicsim_vport_of(dev);
	return vport->nic == nic ? vport : NULL;
}

/* A card drops what its receive buffers cannot hold; two tags are room. */
static bool nicsim_can_receive(const struct net_device *dev,
			       const struct sk_buff *skb)
{
	return netif_running(dev) && netif_carrier_ok(dev) &&
	       skb->len <= READ_ONCE(dev->mtu) + ETH_HLEN + 2 * VLAN_HLEN;
}

/* Into the receive path of a netdev of ours; skb as in ndo_start_xmit. */
void nicsim_deliver(struct net_device *dev, struct sk_buff *skb)
{
	unsigned int len = skb->len;

	if (!dev) {
		kfree_skb(skb);
		return;
	}
	if (!nicsim_can_receive(dev, skb)) {
		dev_core_stats_rx_dropped_inc(dev);
		kfree_skb(skb);
		return;
	}
	skb->pkt_type = PACKET_HOST;
	skb->ip_summed = CHECKSUM_NONE;
	skb->protocol = eth_type_trans(skb, dev);
	if (netif_rx(skb) == NET_RX_SUCCESS)
		dev_sw_netstats_rx_add(dev, len);
}

void nicsim_vport_tx(struct nicsim_vport *vport, struct sk_buff *skb)
{
	skb_scrub_packet(skb, true);
	nicsim_deliver(rcu_dereference(vport->fn), skb);
}

void nicsim_vport_slow(struct nicsim_vport *vport, struct sk_buff *skb)
{
	nicsim_deliver(rcu_dereference(vport->rep), skb);
}

static u16 nicsim_legacy_port_of(const struct nicsim_vport *vport)
{
	return nicsim_is_uplink(vport) ? LEGACY_WIRE : LEGACY_VF0 + vport->num;
}

/* In from a function or the wire; skb as in ndo_start_xmit. */
void nicsim_vport_rx(struct nicsim_vport *vport, struct sk_buff *skb)
{
	skb_scrub_packet(skb, true);
	skb->ip_summed = CHECKSUM_NONE;
	if (!nicsim_is_switchdev(vport->nic))
		nicsim_legacy_rx(vport->nic, nicsim_legacy_port_of(vport), skb);
	else if (!nicsim_flow_rx(vport, skb))
		nicsim_vport_slow(vport, skb);
}
