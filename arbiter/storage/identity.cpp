#include "arbiter/storage/identity.hpp"

#include <algorithm>
#include <utility>

#include "arbiter/mutation.hpp"
#include "common/codec.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::string_view kMagic = "USTIDEN2";
constexpr std::string_view kMagicWithoutFounders = "USTIDEN1";
constexpr const char* kName = "identity";
constexpr const char* kPartial = "identity.partial";
constexpr std::size_t kMaxCluster = 64;
constexpr std::size_t kMaxOthers = 65536;

}  // namespace

Identity::Identity(Directory& directory, raft::NodeId server, std::string cluster, const Fresh& fresh)
    : directory_(directory),
      server_(server),
      cluster_(std::move(cluster)),
      incarnation_(fresh.incarnation),
      introduced_(fresh.introduced),
      founders_(fresh.founders) {
    const auto names = directory_.list();
    if (std::ranges::find(names, kName) == names.end()) {
        write();
        return;
    }
    raft::NodeId found_server = 0;
    std::string found_cluster;
    if (!read(directory_.read(kName), found_server, found_cluster)) {
        throw Error::format(
            "{} is damaged; restore this server's data, or remove it from the cluster and add another with an empty "
            "directory",
            directory_.path(kName));
    }
    if (found_server != server_ || found_cluster != cluster_) {
        throw Error::format(
            "{} is the data of server {} of cluster '{}', not of server {} of cluster '{}'; give each its own data "
            "directory",
            directory_.path(""), found_server, found_cluster, server_, cluster_);
    }
}

void Identity::set_introduced() {
    introduced_ = true;
    write();
}

bool Identity::knows(raft::NodeId server, std::uint64_t incarnation) {
    const auto [known, first_met] = others_.try_emplace(server, incarnation);
    if (first_met) {
        write();
    }
    return known->second == incarnation || mutated(Mutation::lost_disk_believed);
}

void Identity::write() {
    std::string out(kMagic);
    Encoder encoder(out);
    encoder.u64(server_).u64(incarnation_).flag(introduced_).u64(founders_).bytes(cluster_);
    encoder.u32(static_cast<std::uint32_t>(others_.size()));
    for (const auto& [server, incarnation] : others_) {
        encoder.u64(server).u64(incarnation);
    }
    encoder.u64(digest(as_bytes(out)));
    const auto file = directory_.open(kPartial);
    file->truncate(0);
    file->write(0, out);
    file->sync();
    directory_.rename(kPartial, kName);
    directory_.sync();
}

bool Identity::read(std::string_view bytes, raft::NodeId& server, std::string& cluster) {
    const bool without_founders = bytes.starts_with(kMagicWithoutFounders);
    if (bytes.size() < kMagic.size() + 8 || !(bytes.starts_with(kMagic) || without_founders)) {
        return false;
    }
    const auto checked = bytes.substr(0, bytes.size() - 8);
    if (Decoder(bytes.substr(checked.size())).u64() != digest(as_bytes(checked))) {
        return false;
    }
    Decoder decoder(checked.substr(kMagic.size()));
    server = decoder.u64();
    incarnation_ = decoder.u64();
    introduced_ = decoder.flag();
    founders_ = without_founders ? 0 : decoder.u64();
    cluster = decoder.string(kMaxCluster);
    const auto count = decoder.count(kMaxOthers);
    for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
        const auto other = decoder.u64();
        others_[other] = decoder.u64();
    }
    return decoder.finished();
}

}  // namespace understudy::arbiter
