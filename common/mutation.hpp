// Deliberate bugs, by which a simulation shows that it bites. A component lists its own in an enumeration whose first
// value is `none`, and asks for them where they would be made. In the product mutated() is the constant false and the
// compiler removes every trace; a simulation's build (UNDERSTUDY_MUTATIONS) switches one on at a time.
#pragma once

namespace understudy {

#ifdef UNDERSTUDY_MUTATIONS
template <typename Mutation>
inline Mutation active_mutation = Mutation::none;

template <typename Mutation>
bool mutated(Mutation mutation) {
    return active_mutation<Mutation> == mutation;
}
#else
template <typename Mutation>
constexpr bool mutated(Mutation /*mutation*/) {
    return false;
}
#endif

}  // namespace understudy
