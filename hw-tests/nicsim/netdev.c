// SPDX-License-Identifier: GPL-2.0
/*
 * What the netdevs of the PF, the VFs, the representors and the wire have in
 * common. None offers checksum, segmentation or VLAN offload, so every packet
 * that enters the e-switch is complete.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>

#include "control.h"

/* 02 'n' 's' bus devfn tag: locally administered, the same at every boot. */
static void nicsim_mac_of(const struct nicsim *nic, u8 tag, u8 *mac)
{
	const u8 made[ETH_ALEN] = {
		0x02, 'n', 's', nic->pdev->bus->number, nic->pdev->devfn, tag,
	};

	ether_addr_copy(mac, made);
}

static void nicsim_netdev_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = NICSIM_MAX_MTU;
	/* Transmit writes to the skb; pktgen must not share one. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->priv_flags |= IFF_NO_QUEUE | IFF_LIVE_ADDR_CHANGE;
	dev->features |= NETIF_F_HIGHDMA;
	dev->lltx = true;
	dev->needs_free_netdev = true;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->ethtool_ops = &nicsim_ethtool_ops;
}

struct net_device *nicsim_netdev_alloc(struct nicsim_vport *vport,
				       const char *name, u8 mac_tag)
{
	struct nicsim_netdev *priv;
	struct net_device *dev;
	u8 mac[ETH_ALEN];

	dev = alloc_netdev(sizeof(*priv), name, NET_NAME_ENUM,
			   nicsim_netdev_setup);
	if (!dev)
		return NULL;
	priv = netdev_priv(dev);
	priv->vport = vport;
	nicsim_mac_of(vport->nic, mac_tag, mac);
	eth_hw_addr_set(dev, mac);
	netif_carrier_off(dev);
	return dev;
}

int nicsim_netdev_open(struct net_device *dev)
{
	nicsim_carrier_update(nicsim_vport_of(dev));
	return 0;
}

int nicsim_netdev_stop(struct net_device *dev)
{
	nicsim_carrier_update(nicsim_vport_of(dev));
	return 0;
}

static bool nicsim_may_xmit(struct net_device *dev, struct sk_buff *skb)
{
	return netif_carrier_ok(dev) && pskb_may_pull(skb, ETH_HLEN);
}

/* ndo_start_xmit: into the e-switch by the door that fits this netdev. */
netdev_tx_t nicsim_netdev_xmit(struct sk_buff *skb, struct net_device *dev,
			       void (*enter)(struct nicsim_vport *vport,
					     struct sk_buff *skb))
{
	if (!nicsim_may_xmit(dev, skb)) {
		dev_core_stats_tx_dropped_inc(dev);
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	dev_sw_netstats_tx_add(dev, 1, skb->len);
	rcu_read_lock();
	enter(nicsim_vport_of(dev), skb);
	rcu_read_unlock();
	return NETDEV_TX_OK;
}
