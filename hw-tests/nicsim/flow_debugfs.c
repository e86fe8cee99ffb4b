// SPDX-License-Identifier: GPL-2.0
/*
 * For tests and for people, in the NIC's debugfs directory:
 *
 *   flows              one line a filter
 *   flow_counters      one "name value" a line
 *   flow_misses        one line a chain that packets missed
 *   ignore_flow_level  the mlx5 profile: N limits chains and prios
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "flow_exec.h"

static void flow_show_filter(struct seq_file *s, const struct flow_filter *f)
{
	unsigned int i;

	seq_printf(s, "%s chain %u prio %u protocol %04x cookie %lx packets %lld bytes %lld actions",
		   f->id.at->dev->name, f->chain, f->prio, ntohs(f->protocol),
		   f->id.cookie, atomic64_read(&f->counter.pkts),
		   atomic64_read(&f->counter.bytes));
	for (i = 0; i < f->num_steps; i++)
		seq_printf(s, "%s %s", i ? "," : "", f->steps[i].ops->name);
	seq_putc(s, '\n');
}

static int flows_show(struct seq_file *s, void *unused)
{
	struct nicsim_flow *flow = s->private;
	struct flow_attach *at;
	struct flow_filter *f;

	mutex_lock(&flow->lock);
	list_for_each_entry(at, &flow->attaches, node)
		list_for_each_entry(f, &at->filters, in_attach)
			flow_show_filter(s, f);
	mutex_unlock(&flow->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(flows);

static int flow_counters_show(struct seq_file *s, void *unused)
{
	struct nicsim_flow *flow = s->private;

	seq_printf(s, "filters %u\n", READ_ONCE(flow->count));
	seq_printf(s, "finished %lld\n", atomic64_read(&flow->hits));
	seq_printf(s, "missed %lld\n", atomic64_read(&flow->misses));
	seq_printf(s, "slow_path %lld\n", atomic64_read(&flow->slow));
	seq_printf(s, "restored %lld\n", atomic64_read(&flow->restored));
	seq_printf(s, "ct_hits %lld\n", atomic64_read(&flow->ct_hits));
	seq_printf(s, "ct_misses %lld\n", atomic64_read(&flow->ct_misses));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(flow_counters);

static int flow_misses_show(struct seq_file *s, void *unused)
{
	struct nicsim_flow *flow = s->private;
	struct flow_chain *chain;
	struct flow_attach *at;
	unsigned long index;

	mutex_lock(&flow->lock);
	list_for_each_entry(at, &flow->attaches, node)
		xa_for_each(&at->chains, index, chain)
			seq_printf(s, "%s chain %u misses %lld\n",
				   at->dev->name, chain->index,
				   atomic64_read(&chain->misses));
	mutex_unlock(&flow->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(flow_misses);

void flow_debugfs_init(struct nicsim_flow *flow)
{
	struct dentry *dir = flow->nic->debugfs;

	debugfs_create_file("flows", 0400, dir, flow, &flows_fops);
	debugfs_create_file("flow_counters", 0400, dir, flow,
			    &flow_counters_fops);
	debugfs_create_file("flow_misses", 0400, dir, flow,
			    &flow_misses_fops);
	debugfs_create_bool("ignore_flow_level", 0600, dir,
			    &flow->ignore_flow_level);
}

/* The directory is the control plane's, and may outlive us. */
void flow_debugfs_exit(struct nicsim_flow *flow)
{
	struct dentry *dir = flow->nic->debugfs;

	debugfs_lookup_and_remove("flows", dir);
	debugfs_lookup_and_remove("flow_counters", dir);
	debugfs_lookup_and_remove("flow_misses", dir);
	debugfs_lookup_and_remove("ignore_flow_level", dir);
}
