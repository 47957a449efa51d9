#include "hypervisor/gateway/connections.hpp"

#include <algorithm>
#include <utility>

namespace understudy::network {

Connections::Flow Connections::flow_to_guest(const TcpSegment& segment) {
    return {segment.source_address, segment.destination_address, segment.source_port, segment.destination_port};
}

Connections::Flow Connections::flow_from_guest(const TcpSegment& segment) {
    return {segment.destination_address, segment.source_address, segment.destination_port, segment.source_port};
}

void Connections::accepted(int descriptor, std::uint16_t peer_port) {
    accepted_[peer_port] = descriptor;
}

void Connections::connecting(int descriptor) {
    if (opening_) {
        opened(*opening_, descriptor);
    }
}

// Where libslirp has two between the same ports, the later one is what frames are about.
void Connections::opened(const Flow& flow, int descriptor) {
    const auto [connection, fresh] = connections_.try_emplace(flow);
    if (!fresh) {
        flows_.erase(connection->second.descriptor);
        over_.erase(connection->second.descriptor);
        connection->second = {};
    }
    connection->second.descriptor = descriptor;
    flows_.insert_or_assign(descriptor, flow);
}

void Connections::closed(int descriptor) {
    std::erase_if(accepted_, [descriptor](const auto& entry) { return entry.second == descriptor; });
    over_.erase(descriptor);
    const auto flow = flows_.find(descriptor);
    if (flow != flows_.end()) {
        connections_.erase(flow->second);
        flows_.erase(flow);
    }
}

void Connections::to_guest(std::span<const std::byte> frame) {
    const auto tcp = parse_tcp(frame);
    if (!tcp) {
        return;
    }
    const Flow flow = flow_to_guest(*tcp);
    if (tcp->opens_connection && !tcp->acknowledged) {
        if (const auto socket = accepted_.extract(tcp->source_port)) {
            opened(flow, socket.mapped());
        }
    }
    const auto found = connections_.find(flow);
    if (found == connections_.end()) {
        return;
    }
    Connection& connection = found->second;
    if (tcp->acknowledged && connection.acknowledged != tcp->acknowledged) {
        connection.acknowledged = tcp->acknowledged;
        connection.ahead = 0;
    }
    if (tcp->closes_direction) {
        connection.peer_end = tcp->end;
    }
    if (connection.guest_end && tcp->acknowledged && tcp->acknowledged->at_or_after(*connection.guest_end)) {
        connection.guest_end_acknowledged = true;
        connection.ending = reset_answering(frame);
    }
    note_if_over(connection);
}

bool Connections::from_guest(std::span<const std::byte> frame) {
    const auto tcp = parse_tcp(frame);
    if (!tcp) {
        return true;
    }
    const Flow flow = flow_from_guest(*tcp);
    if (tcp->opens_connection && !tcp->acknowledged) {
        opening_ = flow;
    }
    const auto found = connections_.find(flow);
    if (found == connections_.end()) {
        return true;
    }
    Connection& connection = found->second;
    if (tcp->occupies_sequence_space && connection.acknowledged && !connection.acknowledged->at_or_after(tcp->begin)) {
        if (connection.ahead >= kMostAhead) {
            return false;
        }
        ++connection.ahead;
    }
    if (tcp->closes_direction) {
        connection.guest_end = tcp->end;
    }
    if (connection.peer_end && tcp->acknowledged && tcp->acknowledged->at_or_after(*connection.peer_end)) {
        connection.peer_end_acknowledged = true;
    }
    note_if_over(connection);
    return true;
}

void Connections::note_if_over(const Connection& connection) {
    if (connection.peer_end_acknowledged && connection.guest_end_acknowledged && !connection.ending.empty()) {
        over_.emplace(connection.descriptor, flows_.at(connection.descriptor));
    }
}

std::vector<Frame> Connections::take_endings(std::span<const int> busy) {
    std::vector<Frame> endings;
    std::erase_if(over_, [&](const auto& entry) {
        if (std::ranges::find(busy, entry.first) != busy.end()) {
            return false;
        }
        endings.push_back(std::exchange(connections_.at(entry.second).ending, {}));
        return true;
    });
    return endings;
}

}  // namespace understudy::network
