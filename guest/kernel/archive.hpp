// The root file system: a ustar archive in memory, read-only. Pure: knows bytes and paths, not descriptors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace understudy::kernel {

class Archive {
  public:
    enum class Type : std::uint8_t { file, directory, link };
    struct Node {
        std::string_view name;  // within its parent; the root's is empty
        const Node* parent = nullptr;
        Node* first_child = nullptr;  // in the archive's order
        Node* last_child = nullptr;
        Node* next_sibling = nullptr;
        Type type = Type::directory;
        std::uint32_t mode = 0755;
        std::uint32_t user = 0;
        std::uint32_t group = 0;
        std::uint32_t number = 1;  // inode
        std::int64_t modified = 0;
        std::span<const std::uint8_t> content;  // a link's: its target
    };
    enum class Lookup : std::uint8_t { found, missing, not_directory, loop, name_too_long };
    struct Answer {
        Lookup outcome = Lookup::missing;
        const Node* node = nullptr;
    };

    // Indexes `bytes`, which stay the caller's. A damaged archive is used up to the damage. `allocate` gives memory for
    // the nodes and may answer null: then the rest is left out.
    using Allocate = void* (*)(std::size_t size);
    void open(std::span<const std::uint8_t> bytes, Allocate allocate);

    [[nodiscard]] const Node& root() const { return root_; }
    // `path` from `start` (or from the root when it begins with '/'); follows a link at its end if asked to.
    [[nodiscard]] Answer find(const Node& start, std::string_view path, bool follow) const;
    // Writes the absolute path of `node` into `out`; returns its length, 0 when it does not fit.
    static std::size_t path_of(const Node& node, std::span<char> out);

  private:
    static constexpr int kLinkLimit = 40;
    Node* add(Node& parent, std::string_view name);
    Node* child(const Node& parent, std::string_view name) const;
    Node* make_path(Node* node, std::string_view path);
    [[nodiscard]] Answer walk(const Node& start, std::string_view path, bool follow, int& links_left) const;

    Node root_;
    Allocate allocate_ = nullptr;
    std::uint32_t next_number_ = 2;
};

}  // namespace understudy::kernel
