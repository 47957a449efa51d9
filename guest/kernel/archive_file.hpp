// An open file or directory of the root archive.
#pragma once

#include <asm/stat.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/kernel/archive.hpp"
#include "guest/kernel/file.hpp"

namespace understudy::kernel {

// What stat tells of `node`.
void describe_node(const Archive::Node& node, struct stat& status);

class ArchiveFile final : public File {
  public:
    ArchiveFile(const Archive::Node& node, std::uint32_t status_flags) : File(status_flags), node_(node) {}

    [[nodiscard]] const Archive::Node& node() const { return node_; }

    Result read(Buffers& to) override;
    Result read_at(Buffers& to, std::uint64_t offset) override;
    Result seek(std::int64_t offset, int whence) override;
    Result control(unsigned request, void* argument) override;
    void describe(struct stat& status) const override { describe_node(node_, status); }
    Result list(Buffers& to) override;

  private:
    struct Entry {
        std::string_view name;
        const Archive::Node* node;
    };
    [[nodiscard]] std::optional<Entry> entry_at(std::uint64_t index) const;

    const Archive::Node& node_;
    std::uint64_t offset_ = 0;  // a directory's: in entries
};

}  // namespace understudy::kernel
