#!/bin/sh
# The simulated node's first minute: reach the host's root, put a layer of memory over it, and hand over to hw-tests there.
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
	[ -e "$module" ] && insmod "$module"
done

# Asked only whether a guest runs at all under this accelerator.
case "$(cat /proc/cmdline)" in
*linerate.probe*)
	echo "linerate: the guest runs"
	poweroff -f
	;;
esac

nine=trans=virtio,version=9p2000.L,msize=512000
# The host's files do not change under a run as far as the guest is concerned, so it may cache them.
mount -t 9p -o "$nine,cache=loose,ro" root /lower
mount -t tmpfs -o mode=755 upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root
mount -t tmpfs -o mode=755 run /root/run
mkdir /root/run/linerate
mount -t 9p -o "$nine,cache=none" run /root/run/linerate
mount -o move /proc /root/proc
mount -o move /dev /root/dev
mount -t sysfs sys /root/sys
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin exec /bin/switch_root /root "$(cat /root/run/linerate/init)" guest init
