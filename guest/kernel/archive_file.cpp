#include "guest/kernel/archive_file.hpp"

#include <asm/ioctls.h>
#include <linux/fs.h>

#include <cstring>

#include "guest/kernel/linux.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr std::size_t kNameOffset = 19;  // in struct linux_dirent64

std::uint32_t type_bits(const Archive::Node& node) {
    switch (node.type) {
        case Archive::Type::file:
            return kRegularFile;
        case Archive::Type::directory:
            return kDirectory;
        case Archive::Type::link:
            return kSymbolicLink;
    }
    return 0;
}

}  // namespace

void describe_node(const Archive::Node& node, struct stat& status) {
    status.st_dev = 1;
    status.st_ino = node.number;
    status.st_nlink = node.type == Archive::Type::directory ? 2 : 1;
    status.st_mode = type_bits(node) | node.mode;
    status.st_uid = node.user;
    status.st_gid = node.group;
    status.st_size = static_cast<std::int64_t>(node.content.size());
    status.st_blksize = 4096;
    status.st_blocks = static_cast<std::int64_t>((node.content.size() + 511) / 512);
    status.st_mtime = status.st_ctime = status.st_atime = static_cast<std::uint64_t>(node.modified);
}

Result ArchiveFile::read(Buffers& to) {
    const Result count = read_at(to, offset_);
    offset_ += count.failed() ? 0 : static_cast<std::uint64_t>(count.raw());
    return count;
}

Result ArchiveFile::read_at(Buffers& to, std::uint64_t offset) {
    if (node_.type == Archive::Type::directory) {
        return failure(EISDIR);
    }
    if (offset >= node_.content.size()) {
        return 0;
    }
    const auto rest = node_.content.subspan(offset);
    return static_cast<std::int64_t>(to.put(rest.data(), rest.size()));
}

Result ArchiveFile::seek(std::int64_t offset, int whence) {
    const auto size = static_cast<std::int64_t>(node_.content.size());
    std::int64_t base = 0;
    switch (whence) {
        case SEEK_SET:
            break;
        case SEEK_CUR:
            base = static_cast<std::int64_t>(offset_);
            break;
        case SEEK_END:
            base = size;
            break;
        case SEEK_DATA:
        case SEEK_HOLE:
            if (offset < 0 || offset >= size) {
                return failure(ENXIO);
            }
            base = whence == SEEK_HOLE ? size - offset : 0;
            break;
        default:
            return failure(EINVAL);
    }
    std::int64_t target = 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) {
        return failure(EINVAL);
    }
    offset_ = static_cast<std::uint64_t>(target);
    return target;
}

Result ArchiveFile::control(unsigned request, void* argument) {
    if (request != FIONREAD || node_.type != Archive::Type::file) {
        return failure(ENOTTY);
    }
    if (!accessible(static_cast<int*>(argument))) {
        return failure(EFAULT);
    }
    *static_cast<int*>(argument) =
        static_cast<int>(node_.content.size() - std::min<std::uint64_t>(offset_, node_.content.size()));
    return 0;
}

// struct linux_dirent64 for each entry: inode, offset of the next, record length, type, name. The offset counts
// entries, "." and ".." first.
Result ArchiveFile::list(Buffers& to) {
    if (node_.type != Archive::Type::directory) {
        return failure(ENOTDIR);
    }
    const auto room = to.remaining();
    for (std::uint64_t index = offset_;; ++index) {
        const auto entry = entry_at(index);
        if (!entry) {
            break;
        }
        const std::size_t length = (kNameOffset + entry->name.size() + 1 + 7) & ~std::size_t{7};
        if (length > to.remaining()) {
            return to.remaining() == room ? failure(EINVAL) : Result(static_cast<std::int64_t>(room - to.remaining()));
        }
        std::uint8_t record[kNameOffset + 264] = {};
        const std::uint64_t number = entry->node->number;
        const std::uint64_t next = index + 1;
        const auto record_length = static_cast<std::uint16_t>(length);
        std::memcpy(record, &number, 8);
        std::memcpy(record + 8, &next, 8);
        std::memcpy(record + 16, &record_length, 2);
        record[18] = static_cast<std::uint8_t>(type_bits(*entry->node) >> 12);
        std::memcpy(record + kNameOffset, entry->name.data(), entry->name.size());
        to.put(record, length);
        offset_ = next;
    }
    return static_cast<std::int64_t>(room - to.remaining());
}

std::optional<ArchiveFile::Entry> ArchiveFile::entry_at(std::uint64_t index) const {
    if (index < 2) {
        return index == 0 ? Entry{".", &node_} : Entry{"..", node_.parent};
    }
    const Archive::Node* node = node_.first_child;
    for (std::uint64_t at = 2; node != nullptr && at < index; ++at) {
        node = node->next_sibling;
    }
    // A name that no file system allows cannot be opened either.
    while (node != nullptr && node->name.size() > 255) {
        node = node->next_sibling;
    }
    return node == nullptr ? std::nullopt : std::optional(Entry{node->name, node});
}

}  // namespace understudy::kernel
