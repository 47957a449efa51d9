#include "guest/kernel/archive.hpp"

#include <cstring>
#include <new>
#include <optional>

namespace understudy::kernel {

namespace {

constexpr std::size_t kBlock = 512;

// POSIX ustar: one header block a member, all numbers in octal text.
struct Header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char modified[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char rest[12];
};
static_assert(sizeof(Header) == kBlock);

template <std::size_t size>
std::string_view text(const char (&field)[size]) {
    std::size_t length = 0;
    while (length < size && field[length] != '\0') {
        ++length;
    }
    return {field, length};
}

std::optional<std::uint64_t> octal(std::string_view field) {
    std::uint64_t value = 0;
    bool digits = false;
    for (const char c : field) {
        if (c >= '0' && c <= '7') {
            value = value * 8 + static_cast<std::uint64_t>(c - '0');
            digits = true;
        } else if (c != ' ' || digits) {
            break;
        }
    }
    return digits ? std::optional(value) : std::nullopt;
}

bool intact(const Header& header) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&header);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
        const bool in_checksum = i >= offsetof(Header, checksum) && i < offsetof(Header, type);
        sum += in_checksum ? std::uint8_t{' '} : bytes[i];
    }
    return octal(text(header.checksum)) == sum;
}

// The value of `key` in a pax extended header: lines of "<length> <key>=<value>\n".
std::string_view pax_value(std::string_view lines, std::string_view key) {
    while (!lines.empty()) {
        std::size_t length = 0;
        std::size_t at = 0;
        while (at < lines.size() && lines[at] >= '0' && lines[at] <= '9' && length <= lines.size()) {
            length = length * 10 + static_cast<std::size_t>(lines[at++] - '0');
        }
        if (length <= at + 1 || length > lines.size()) {
            return {};
        }
        const std::string_view entry = lines.substr(at + 1, length - at - 2);
        if (entry.size() > key.size() && entry.substr(0, key.size()) == key && entry[key.size()] == '=') {
            return entry.substr(key.size() + 1);
        }
        lines.remove_prefix(length);
    }
    return {};
}

std::string_view first_component(std::string_view& path) {
    while (!path.empty() && path.front() == '/') {
        path.remove_prefix(1);
    }
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, end);
    path.remove_prefix(end);
    return component;
}

constexpr std::size_t kNameLimit = 255;

}  // namespace

Archive::Node* Archive::child(const Node& parent, std::string_view name) const {
    for (Node* node = parent.first_child; node != nullptr; node = node->next_sibling) {
        if (node->name == name) {
            return node;
        }
    }
    return nullptr;
}

Archive::Node* Archive::add(Node& parent, std::string_view name) {
    void* memory = allocate_(sizeof(Node));
    if (memory == nullptr) {
        return nullptr;
    }
    Node* node = new (memory) Node;
    node->name = name;
    node->parent = &parent;
    node->number = next_number_++;
    (parent.last_child != nullptr ? parent.last_child->next_sibling : parent.first_child) = node;
    parent.last_child = node;
    return node;
}

// The node at `path` under `node`, made with its parents where it does not exist; null for a path that leaves the root
// or has a file on its way.
Archive::Node* Archive::make_path(Node* node, std::string_view path) {
    for (std::string_view name = first_component(path); node != nullptr && !name.empty();
         name = first_component(path)) {
        if (name == ".") {
            continue;
        }
        if (name == ".." || node->type != Type::directory) {
            return nullptr;
        }
        Node* next = child(*node, name);
        node = next != nullptr ? next : add(*node, name);
    }
    return node;
}

void Archive::open(std::span<const std::uint8_t> bytes, Allocate allocate) {
    allocate_ = allocate;
    root_.parent = &root_;
    std::string_view long_name;
    std::string_view long_link;
    while (bytes.size() >= kBlock) {
        const auto& header = *reinterpret_cast<const Header*>(bytes.data());
        const auto size = octal(text(header.size));
        if (header.name[0] == '\0' || !intact(header) || !size || *size > bytes.size() - kBlock) {
            return;
        }
        const auto content = bytes.subspan(kBlock, *size);
        const std::string_view content_text(reinterpret_cast<const char*>(content.data()), content.size());
        const std::size_t padded = (*size + kBlock - 1) / kBlock * kBlock;
        bytes = bytes.subspan(kBlock + std::min<std::size_t>(padded, bytes.size() - kBlock));

        if (header.type == 'L' || header.type == 'K') {  // GNU: the next member's long name or link target
            (header.type == 'L' ? long_name : long_link) = content_text.substr(0, content_text.find('\0'));
            continue;
        }
        if (header.type == 'x') {
            long_name = pax_value(content_text, "path");
            long_link = pax_value(content_text, "linkpath");
            continue;
        }
        const std::string_view link = long_link.empty() ? text(header.link) : long_link;
        const std::string_view prefix = long_name.empty() ? text(header.prefix) : std::string_view{};
        const std::string_view name = long_name.empty() ? text(header.name) : long_name;
        long_name = long_link = {};

        const bool regular = header.type == '0' || header.type == '\0' || header.type == '7';
        if (!regular && header.type != '1' && header.type != '2' && header.type != '5') {
            continue;  // devices and FIFOs
        }
        Node* node = make_path(make_path(&root_, prefix), name);
        if (node == nullptr) {
            continue;
        }
        node->mode = static_cast<std::uint32_t>(octal(text(header.mode)).value_or(0644) & 07777);
        node->user = static_cast<std::uint32_t>(octal(text(header.uid)).value_or(0));
        node->group = static_cast<std::uint32_t>(octal(text(header.gid)).value_or(0));
        node->modified = static_cast<std::int64_t>(octal(text(header.modified)).value_or(0));
        if (regular) {
            node->type = Type::file;
            node->content = content;
        } else if (header.type == '2') {
            node->type = Type::link;
            node->content = {reinterpret_cast<const std::uint8_t*>(link.data()), link.size()};
        } else if (header.type == '1') {  // a hard link to a member that came before
            const Answer target = find(root_, link, false);
            node->type = target.node != nullptr ? target.node->type : Type::file;
            node->content = target.node != nullptr ? target.node->content : std::span<const std::uint8_t>{};
        }
    }
}

// `links_left` is the whole search's: links that name others twice would otherwise double the work with each.
Archive::Answer Archive::walk(const Node& start, std::string_view path, bool follow, int& links_left) const {
    const Node* node = !path.empty() && path.front() == '/' ? &root_ : &start;
    for (std::string_view name = first_component(path); !name.empty(); name = first_component(path)) {
        if (node->type != Type::directory) {
            return {Lookup::not_directory};
        }
        if (name.size() > kNameLimit) {
            return {Lookup::name_too_long};
        }
        if (name == ".") {
            continue;
        }
        const Node* next = name == ".." ? node->parent : child(*node, name);
        if (next == nullptr) {
            return {Lookup::missing};
        }
        if (next->type == Type::link && (follow || !path.empty())) {
            if (links_left == 0) {
                return {Lookup::loop};
            }
            const std::string_view target(reinterpret_cast<const char*>(next->content.data()), next->content.size());
            --links_left;
            const Answer answer = walk(*node, target, true, links_left);
            if (answer.outcome != Lookup::found) {
                return answer;
            }
            next = answer.node;
        }
        node = next;
        if (node->type != Type::directory && !path.empty()) {
            return {Lookup::not_directory};
        }
    }
    return {Lookup::found, node};
}

Archive::Answer Archive::find(const Node& start, std::string_view path, bool follow) const {
    int links_left = kLinkLimit;
    return path.empty() ? Answer{Lookup::missing} : walk(start, path, follow, links_left);
}

std::size_t Archive::path_of(const Node& node, std::span<char> out) {
    std::size_t length = 0;
    for (const Node* at = &node; at->parent != at; at = at->parent) {
        length += at->name.size() + 1;
    }
    if (length == 0) {
        if (out.empty()) {
            return 0;
        }
        out[0] = '/';
        return 1;
    }
    if (length > out.size()) {
        return 0;
    }
    std::size_t end = length;
    for (const Node* at = &node; at->parent != at; at = at->parent) {
        end -= at->name.size();
        std::memcpy(out.data() + end, at->name.data(), at->name.size());
        out[--end] = '/';
    }
    return length;
}

}  // namespace understudy::kernel
