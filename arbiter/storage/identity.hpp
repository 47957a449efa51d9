// Who a server is, for as long as its disk lives, and who the others were when it met them.
//
// A server whose disk was lost has forgotten its votes and what it acknowledged. If it came back as if new, under its
// old number, a majority could forget with it what was decided. So a server draws a number at random when its directory
// is new, its incarnation, and says it to whoever it speaks to; each keeps, for good, the incarnation that it first saw
// of each other server, and has nothing to do with another one. A server of a new cluster takes part only when all the
// others have noted its incarnation: whatever it promises is then known to be this incarnation's.
//
// Two servers that begin one cluster were told the same list of servers; whose lists differ would each have its own
// majority, and they do not speak with each other either.
//
// File `identity`, little-endian, written as `identity.partial`, synced, then renamed:
//
//     0  8  "USTIDEN2"
//     8  8  the server's number
//    16  8  its incarnation
//    24  1  1 when all the others of a new cluster have noted it
//    25  8  of the servers that began the cluster, as this one was told them, a digest of their numbers; 0: not told
//    33  …  the cluster's name (u32 length, bytes)
//     …  …  u32 number of other servers, then for each: u64 number, u64 incarnation
//     …  8  digest of all before
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "arbiter/raft/types.hpp"
#include "arbiter/storage/file_system.hpp"

namespace understudy::arbiter {

// Not thread-safe. Every method that writes throws understudy::Error when the disk fails.
class Identity {
  public:
    struct Fresh {  // what a server gets that has none yet
        std::uint64_t incarnation = 0;
        bool introduced = false;     // there is nobody whom it would have to be introduced to
        std::uint64_t founders = 0;  // as in the file
    };
    // Reads it, or writes a new one. `directory` outlives it. Throws understudy::Error when the directory is another
    // server's, or another cluster's, or the file is damaged.
    Identity(Directory& directory, raft::NodeId server, std::string cluster, const Fresh& fresh);

    [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
    [[nodiscard]] bool introduced() const { return introduced_; }
    [[nodiscard]] std::uint64_t founders() const { return founders_; }
    void set_introduced();
    // Whether this is the `server` that was met before; of the first one that is met, durably, yes.
    [[nodiscard]] bool knows(raft::NodeId server, std::uint64_t incarnation);

  private:
    void write();
    [[nodiscard]] bool read(std::string_view bytes, raft::NodeId& server, std::string& cluster);

    Directory& directory_;
    raft::NodeId server_;
    std::string cluster_;
    std::uint64_t incarnation_;
    bool introduced_;
    std::uint64_t founders_;
    std::map<raft::NodeId, std::uint64_t> others_;
};

}  // namespace understudy::arbiter
