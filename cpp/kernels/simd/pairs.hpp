// join: the way back from Vec::part. shift_in: the last element of `before`, then all of a but its last.
#pragma once

namespace fastconv::FASTCONV_ISA {

#if FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 4
FASTCONV_INLINE void join(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  a.v = vzip1q_f32(even.v, odd.v);
  b.v = vzip2q_f32(even.v, odd.v);
}
FASTCONV_INLINE void join(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  a.v = vzip1q_f64(even.v, odd.v);
  b.v = vzip2q_f64(even.v, odd.v);
}
FASTCONV_INLINE Vec<float> shift_in(Vec<float> before, Vec<float> a) { return {vextq_f32(before.v, a.v, 3)}; }
FASTCONV_INLINE Vec<double> shift_in(Vec<double> before, Vec<double> a) { return {vextq_f64(before.v, a.v, 1)}; }
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 3
FASTCONV_INLINE void join(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  a.v = _mm512_permutex2var_ps(even.v, low, odd.v);
  b.v = _mm512_permutex2var_ps(even.v, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd.v);
}
FASTCONV_INLINE void join(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  a.v = _mm512_permutex2var_pd(even.v, low, odd.v);
  b.v = _mm512_permutex2var_pd(even.v, _mm512_add_epi64(low, _mm512_set1_epi64(4)), odd.v);
}
FASTCONV_INLINE Vec<float> shift_in(Vec<float> before, Vec<float> a) {
  return {_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(before.v), 15))};
}
FASTCONV_INLINE Vec<double> shift_in(Vec<double> before, Vec<double> a) {
  return {_mm512_castsi512_pd(_mm512_alignr_epi64(_mm512_castpd_si512(a.v), _mm512_castpd_si512(before.v), 7))};
}
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 2
FASTCONV_INLINE void join(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  const __m256 low = _mm256_unpacklo_ps(even.v, odd.v), high = _mm256_unpackhi_ps(even.v, odd.v);
  a.v = _mm256_permute2f128_ps(low, high, 0x20);
  b.v = _mm256_permute2f128_ps(low, high, 0x31);
}
FASTCONV_INLINE void join(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  const __m256d low = _mm256_unpacklo_pd(even.v, odd.v), high = _mm256_unpackhi_pd(even.v, odd.v);
  a.v = _mm256_permute2f128_pd(low, high, 0x20);
  b.v = _mm256_permute2f128_pd(low, high, 0x31);
}
FASTCONV_INLINE Vec<float> shift_in(Vec<float> before, Vec<float> a) {
  const __m256i middle = _mm256_castps_si256(_mm256_permute2f128_ps(before.v, a.v, 0x21));
  return {_mm256_castsi256_ps(_mm256_alignr_epi8(_mm256_castps_si256(a.v), middle, 12))};
}
FASTCONV_INLINE Vec<double> shift_in(Vec<double> before, Vec<double> a) {
  return {_mm256_shuffle_pd(_mm256_permute2f128_pd(before.v, a.v, 0x21), a.v, 0x5)};
}
#else
template <class T>
FASTCONV_INLINE void join(Vec<T> even, Vec<T> odd, Vec<T>& a, Vec<T>& b) {
  constexpr int W = Vec<T>::width;
  for (int i = 0; i < W; ++i) {
    a.v[i] = i % 2 ? odd.v[i / 2] : even.v[i / 2];
    b.v[i] = i % 2 ? odd.v[(W + i) / 2] : even.v[(W + i) / 2];
  }
}
template <class T>
FASTCONV_INLINE Vec<T> shift_in(Vec<T> before, Vec<T> a) {
  return Vec<T>::each([&](int i) { return i ? a.v[i - 1] : before.v[Vec<T>::width - 1]; });
}
#endif

}  // namespace fastconv::FASTCONV_ISA
