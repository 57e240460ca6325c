//! (in work)
pub struct PolicyRouting;
impl PolicyRouting {
    pub async fn install(_m: u32, _t: u32) -> anyhow::Result<Self> { Ok(Self) }
    pub async fn remove(self) {}
}
