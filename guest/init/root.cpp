#include "guest/init/root.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "guest/init/system.hpp"

namespace understudy::init {
namespace {

struct Mount {
    const char* type;
    const char* target;
    unsigned long flags;
    const char* data;
};

void mount_all(const std::string& root) {
    constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    static constexpr std::array kMounts{
        Mount{"proc", "/proc", kPlain, nullptr},
        Mount{"sysfs", "/sys", kPlain, nullptr},
        Mount{"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
        Mount{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,gid=5"},
        Mount{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
        Mount{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
        Mount{"cgroup2", "/sys/fs/cgroup", kPlain, nullptr},
    };
    for (const Mount& mount_point : kMounts) {
        const std::string target = root + mount_point.target;
        mkdir(target.c_str(), 0755);
        if (mount(mount_point.type, target.c_str(), mount_point.type, mount_point.flags, mount_point.data) != 0) {
            complain("cannot mount " + target);
        }
    }
    mkdir((root + "/run/lock").c_str(), 01777);  // Debian's /var/lock
}

bool mount_image(const std::string& device, const char* target) {
    for (const char* type : {"erofs", "squashfs", "ext4"}) {
        if (mount(device.c_str(), target, type, MS_RDONLY, nullptr) == 0) {
            return true;
        }
        if (errno != EINVAL) {
            return false;
        }
    }
    return false;
}

// The new root takes the place of the initial ramdisk, which stays below it.
void switch_root(const char* root) {
    if (chdir(root) != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0) {
        complain("cannot make the image the root");
        power_off(kCannotStart);
    }
}

}  // namespace

void prepare_root(const Settings& settings) {
    umask(0);
    if (settings.image.empty()) {
        mount_all("");
        umask(022);
        return;
    }
    for (const char* directory : {"/dev", "/lower", "/written", "/root"}) {
        mkdir(directory, 0755);
    }
    if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") != 0 || !mount_image(settings.image, "/lower")) {
        complain("the image " + settings.image + " is no erofs, squashfs or ext4 file system that can be mounted");
        power_off(kCannotStart);
    }
    const std::string size = "mode=0755,nr_inodes=0,size=" + settings.upper_percent + "%";
    if (mount("tmpfs", "/written", "tmpfs", 0, size.c_str()) != 0 || mkdir("/written/upper", 0755) != 0 ||
        mkdir("/written/work", 0755) != 0 ||
        mount("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/written/upper,workdir=/written/work") != 0) {
        complain("cannot lay a writable file system over the image");
        power_off(kCannotStart);
    }
    mount_all("/root");
    switch_root("/root");
    umask(022);
}

}  // namespace understudy::init
