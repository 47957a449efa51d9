#include "tools/image/root_changes.hpp"

#include <string>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

// Everything below comes from the kernel or from memory when the guest boots (guest/init/root.cpp).
void make_mount_points(RootTree& root) {
    for (const char* const name : {"/dev", "/proc", "/run", "/sys"}) {
        root.make_mount_point(name);
    }
    root.make_mount_point("/tmp", 01777);
}

// What mmdebstrap and packages' scripts wrote that is this host's, or would be another at the next build. A machine's
// identity is made when it boots: an empty machine-id says so to systemd.
void remove_traces(RootTree& root) {
    root.remove("/etc/resolv.conf");  // the host's; init writes the guest's
    root.write_file("/etc/hostname", "guest\n");
    if (root.has("/etc/machine-id")) {
        root.write_file("/etc/machine-id", "", 0444);
    }
    root.remove("/var/lib/dbus/machine-id");
    root.remove("/var/lib/systemd/random-seed");
    root.remove_files("/etc/ssh", "ssh_host_");
}

// sshd does not start without host keys, and nobody else makes them.
void make_host_keys_at_boot(RootTree& root) {
    if (root.has("/lib/systemd/system/ssh.service")) {
        root.write_file(
            "/etc/systemd/system/ssh.service.d/host-keys.conf",
            "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n");
    }
}

// Whoever has the guest's console is its operator: root is logged in there. No password is set, so that is the only
// way.
void log_in_on_console(RootTree& root) {
    root.write_file("/etc/systemd/system/serial-getty@hvc0.service.d/autologin.conf",
                    "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud "
                    "115200,57600,38400,9600 %I $TERM\n");
}

// They would write to a root whose changes are in memory, or look after disks that there are none of.
void mask_useless_units(RootTree& root) {
    for (const char* const unit : {"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
                                   "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"}) {
        if (root.has(std::string("/lib/systemd/system/") + unit)) {
            root.make_link(std::string("/etc/systemd/system/") + unit, "/dev/null");
        }
    }
}

void prepare_systemd(RootTree& root) {
    if (!root.has("/sbin/init")) {
        throw Error("the root has no /sbin/init, and so no systemd that could be started");
    }
    log_in_on_console(root);
    mask_useless_units(root);
    make_host_keys_at_boot(root);
}

void check_tar(const RootTree& root, const std::string& tar) {
    if (root.empty()) {
        throw Error(tar + " is empty");
    }
    if (root.has("/manifest.json") && (root.has("/oci-layout") || root.has("/repositories"))) {
        throw Error(tar + " holds a container's layers, not its root: use docker export, not docker save");
    }
}

}  // namespace

void change_root(RootTree& root, const ImageRequest& request) {
    if (request.tar.empty()) {
        remove_traces(root);
    } else {
        check_tar(root, request.tar);
    }
    make_mount_points(root);
    if (request.systemd) {
        prepare_systemd(root);
    }
    for (const Addition& addition : request.additions) {
        root.add(addition.host, addition.guest);
    }
}

}  // namespace understudy::tools
